// Which names led to the answer, as a picture, and the facts it used, each of which can be put right. All is text.
import { useEffect, useState } from 'react'

const LONGEST = 30
const [HEIGHT, ROW, GAP] = [30, 44, 34]

const cut = (name) => (Array.from(name).length > LONGEST ? `${Array.from(name).slice(0, LONGEST - 1).join('')}…` : name)

// A box for each name, from left to right; wide letters count twice.
const placed = (way) => {
  let x = 1
  return way.map((name) => {
    const shown = cut(name)
    const letters = Array.from(shown).reduce((sum, letter) => sum + (letter.codePointAt(0) > 0x2e7f ? 2 : 1), 0)
    const box = { name, shown, x, width: Math.max(44, letters * 7.4 + 22) }
    x += box.width + GAP
    return box
  })
}

const Picture = ({ ways }) => {
  const rows = ways.map(placed)
  const width = Math.max(...rows.map((row) => row[row.length - 1].x + row[row.length - 1].width)) + 1
  return (
    <div className="aegis-ways">
      <svg role="img" aria-label={ways.map((way) => way.join(' → ')).join('; ')} width={width} height={rows.length * ROW}>
        {rows.map((row, line) =>
          row.map((box, place) => (
            <g key={`${line}-${place}`} transform={`translate(${box.x} ${line * ROW + 6})`}>
              <title>{box.name}</title>
              <rect width={box.width} height={HEIGHT} rx="8" />
              <text x={box.width / 2} y={HEIGHT / 2} dominantBaseline="central" textAnchor="middle">{box.shown}</text>
              {place > 0 && <path d={`M${-GAP + 4} ${HEIGHT / 2}H-8m-5 -4l5 4l-5 4`} />}
            </g>
          ))
        )}
      </svg>
    </div>
  )
}

const Fact = ({ fact }) => {
  const [text, setText] = useState(fact.text)
  const [id, setId] = useState(fact.fact_id)
  const [draft, setDraft] = useState(null)
  const [said, setSaid] = useState('')
  const [over, setOver] = useState(false)

  const send = async (body, done) => {
    const response = await fetch(`/api/v1/memory/facts/${encodeURIComponent(id)}`, {
      method: 'PATCH',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(body)
    }).catch(() => null)
    const answer = response && (await response.json().catch(() => null))
    if (!response || !response.ok) return setSaid(answer?.error?.message || 'That failed; try again.')
    setDraft(null)
    done(answer)
  }
  const confirm = () => send({ confirmed: true }, () => setSaid('Confirmed.'))
  const forbid = () =>
    send({ forbidden: true, reason: 'Said to be wrong below an answer.' }, () => {
      setOver(true)
      setSaid('Forgotten; it is not learnt again from the same words. `aegis memory undo` brings it back.')
    })
  const correct = (event) => {
    event.preventDefault()
    send({ text: draft }, (answer) => {
      setText(answer.text)
      setId(answer.id)
      setSaid('Corrected.')
    })
  }

  return (
    <li>
      {over ? <s>{text}</s> : <span>{text}</span>}
      {fact.memory === 'conversations' && <span className="aegis-source-place"> · from what you said</span>}
      {!over && draft === null && (
        <span className="aegis-control">
          <button type="button" onClick={confirm}>Right</button>
          <button type="button" onClick={() => setDraft(text)}>Correct</button>
          <button type="button" onClick={forbid}>That is wrong</button>
        </span>
      )}
      {draft !== null && (
        <form className="aegis-control" onSubmit={correct}>
          <input aria-label="What is right" value={draft} maxLength={2000} autoFocus
            onChange={(event) => setDraft(event.target.value)} />
          <button type="submit" disabled={!draft.trim()}>Save</button>
          <button type="button" onClick={() => setDraft(null)}>Cancel</button>
        </form>
      )}
      {said && <p className="aegis-note" role="status">{said}</p>}
    </li>
  )
}

// What a model claimed of a document without its saying so, until somebody says what it is.
const Claim = ({ claim }) => {
  const [said, setSaid] = useState('')
  const [over, setOver] = useState(false)

  const decide = async (method, path, done) => {
    const address = `/api/v1/memory/quarantine/${encodeURIComponent(claim.id)}${path}`
    const response = await fetch(address, { method }).catch(() => null)
    const answer = response && !response.ok ? await response.json().catch(() => null) : null
    if (!response || !response.ok) return setSaid(answer?.error?.message || 'That failed; try again.')
    setOver(true)
    setSaid(done)
  }
  const release = () => decide('POST', '/release', 'A fact now; `aegis memory undo` takes it back.')
  const discard = () => decide('DELETE', '', 'Discarded.')

  return (
    <li>
      <span>{claim.text}</span>
      <span className="aegis-source-place"> · {claim.title}: {claim.reason}</span>
      {!over && (
        <span className="aegis-control">
          <button type="button" onClick={release}>It is right</button>
          <button type="button" onClick={discard}>Discard</button>
        </span>
      )}
      {said && <p className="aegis-note" role="status">{said}</p>}
    </li>
  )
}

const Claims = ({ documents }) => {
  const [claims, setClaims] = useState([])

  useEffect(() => {
    let wanted = true
    const asked = documents.map((document) =>
      fetch(`/api/v1/memory/quarantine?${new URLSearchParams({ document, limit: 20 })}`)
        .then((answer) => (answer.ok ? answer.json() : { facts: [] }))
        .catch(() => ({ facts: [] }))
    )
    Promise.all(asked).then((found) => wanted && setClaims(found.flatMap((one) => one.facts)))
    return () => {
      wanted = false
    }
  }, [documents.join()])

  if (!claims.length) return null
  return (
    <details className="aegis-claims">
      <summary>{claims.length === 1 ? '1 claim' : `${claims.length} claims`} of a model, held back</summary>
      <ul>{claims.map((claim) => <Claim key={claim.id} claim={claim} />)}</ul>
    </details>
  )
}

export default function Graph() {
  const { ways, facts, documents, open } = props
  return (
    <div className="aegis-graph">
      {ways.length > 0 && <Picture ways={ways} />}
      {facts.length > 0 && (
        <details open={open}>
          <summary>{facts.length === 1 ? '1 fact' : `${facts.length} facts`} from memory</summary>
          <ul>{facts.map((fact) => <Fact key={fact.fact_id} fact={fact} />)}</ul>
        </details>
      )}
      <Claims documents={documents || []} />
    </div>
  )
}
