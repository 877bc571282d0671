// The cited passage with its surroundings, the cited words marked. Spans count code points, strings do not.
import { useEffect, useRef, useState } from 'react'

const AROUND = 400

const cut = (points, from, spans) => {
  const parts = []
  let position = 0
  for (const span of [...spans].sort((a, b) => a.start - b.start)) {
    const start = Math.max(span.start - from, position)
    const end = Math.min(span.end - from, points.length)
    if (end <= start) continue
    parts.push({ text: points.slice(position, start).join('') })
    parts.push({ text: points.slice(start, end).join(''), cited: true })
    position = end
  }
  parts.push({ text: points.slice(position).join('') })
  return parts.filter((part) => part.text)
}

export default function Passage() {
  const { document_id, version_id, title, source, page, heading, warning, spans } = props
  const [parts, setParts] = useState()
  const [gone, setGone] = useState(false)
  const [isPrivate, setPrivate] = useState(null)
  const [refused, setRefused] = useState('')
  const shown = useRef(null)
  const base = `/api/v1/documents/${encodeURIComponent(document_id)}`

  useEffect(() => {
    const first = Math.max(0, Math.min(...spans.map((span) => span.start)) - AROUND)
    const last = Math.max(...spans.map((span) => span.end)) + AROUND
    const query = new URLSearchParams({ version: version_id, start: first, end: last })
    let wanted = true
    setParts(undefined)
    setGone(false)
    fetch(`${base}/text?${query}`)
      .then((answer) => (answer.ok ? answer.json() : Promise.reject(answer.status)))
      .then((answer) => {
        if (!wanted) return
        const found = cut(Array.from(answer.text), answer.start, spans)
        // Whole words at both ends, unless the cited words begin or end there.
        const [head, tail] = [found[0], found[found.length - 1]]
        if (answer.start > 0 && !head.cited) head.text = `… ${head.text.replace(/^\S*\s+/, '')}`
        if (answer.end < answer.chars && !tail.cited) tail.text = `${tail.text.replace(/\s+\S*$/, '')} …`
        setParts(found)
      })
      .catch(() => wanted && setGone(true))
    return () => {
      wanted = false
    }
  }, [document_id, version_id, JSON.stringify(spans)])

  // As it is marked now, not as it was when it was cited.
  useEffect(() => {
    let wanted = true
    setPrivate(null)
    setRefused('')
    fetch(base)
      .then((answer) => (answer.ok ? answer.json() : Promise.reject(answer.status)))
      .then((answer) => wanted && setPrivate(answer.private))
      .catch(() => {})
    return () => {
      wanted = false
    }
  }, [document_id])

  const keep = async () => {
    const answer = await fetch(base, {
      method: 'PATCH',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ private: !isPrivate })
    }).catch(() => null)
    const said = answer ? await answer.json().catch(() => null) : null
    setRefused(answer && answer.ok ? '' : said?.error?.message || 'That failed.')
    if (!answer || !answer.ok || !said) return
    setPrivate(said.private)
    window.dispatchEvent(new Event('aegis-marked')) // the conversation may stay here from now on
  }

  useEffect(() => {
    const mark = shown.current && shown.current.querySelector('mark')
    if (mark) mark.scrollIntoView({ block: 'nearest' })
  }, [parts])

  const quoted = spans.flatMap((span) => [{ text: span.quote, cited: true }, { text: ' ' }])

  return (
    <article className="aegis-passage">
      <h3>{title}</h3>
      <p className="aegis-place">
        {[page && `Page ${page}`, heading, warning && `⚠ ${warning}`].filter(Boolean).join(' · ')}
      </p>
      <blockquote ref={shown}>
        {(parts || quoted).map((part, number) =>
          part.cited ? <mark key={number}>{part.text}</mark> : <span key={number}>{part.text}</span>
        )}
      </blockquote>
      {gone ? (
        <p className="aegis-note">This version of the document is no longer there; these are the words that were cited.</p>
      ) : (
        <a className="aegis-original" href={`${base}/original`} download>
          Get the original file
        </a>
      )}
      {isPrivate !== null && (
        <button type="button" className="aegis-private" role="switch" aria-checked={isPrivate} onClick={keep}
          title="Nothing of a private document leaves this machine, whatever the settings allow.">
          {isPrivate ? 'Private: never leaves this machine' : 'Keep this document on this machine'}
        </button>
      )}
      {refused && <p className="aegis-note">{refused}</p>}
      <p className="aegis-note aegis-from">{source}</p>
    </article>
  )
}
