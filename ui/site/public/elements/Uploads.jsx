// Files on their way into the store, with the reason where one is refused, and what a paid model would take to read them.
import { useEffect, useState } from 'react'

const STATES = {
  queued: 'waiting',
  running: 'being read',
  written: 'nearly there',
  done: 'added',
  unchanged: 'was there already',
  failed: 'refused',
  cancelled: 'cancelled'
}

// A document as it is marked now, and the way to mark it otherwise.
function Mark({ id }) {
  const [isPrivate, setPrivate] = useState(null)
  const base = `/api/v1/documents/${encodeURIComponent(id)}`
  const told = async (asked) => {
    const answer = await asked.catch(() => null)
    const said = answer && answer.ok ? await answer.json().catch(() => null) : null
    if (said) setPrivate(said.private)
  }

  useEffect(() => {
    told(fetch(base))
  }, [id])

  const keep = async () => {
    const body = JSON.stringify({ private: !isPrivate })
    await told(fetch(base, { method: 'PATCH', headers: { 'Content-Type': 'application/json' }, body }))
    window.dispatchEvent(new Event('aegis-marked')) // the conversation may stay here from now on
  }

  if (isPrivate === null) return null
  return (
    <button type="button" className="aegis-private" role="switch" aria-checked={isPrivate} onClick={keep}
      title="Nothing of a private document leaves this machine, whatever the settings allow.">
      {isPrivate ? 'Private: never leaves this machine' : 'Keep it on this machine'}
    </button>
  )
}

export default function Uploads() {
  const { files, state, done, total, left, price } = props
  const [agreed, setAgreed] = useState('')

  const agree = async () => {
    const answer = await fetch('/api/v1/memory/extraction', { method: 'POST' }).catch(() => null)
    const said = answer && !answer.ok ? await answer.json().catch(() => null) : null
    setAgreed(answer && answer.ok ? 'They are read in the background.' : said?.error?.message || 'That failed.')
  }

  const over = ['done', 'failed', 'cancelled'].includes(state)
  return (
    <div className="aegis-uploads">
      {!over && (
        <div className="aegis-progress">
          <progress max={total || 1} value={done} />
          <span>
            {done} of {total}
            {left ? `, about ${Math.ceil(left)} s left` : ''}
          </span>
        </div>
      )}
      <ul>
        {files.map((file) => (
          <li key={file.name} data-state={file.state}>
            {file.document_id && ['done', 'unchanged'].includes(file.state) ? (
              <a href={`/api/v1/documents/${encodeURIComponent(file.document_id)}/original`} download>{file.name}</a>
            ) : (
              <span className="aegis-file">{file.name}</span>
            )}
            <span className="aegis-state">
              {STATES[file.state] || file.state}
              {file.state === 'done' && file.chunks ? ` · ${file.chunks} passage${file.chunks === 1 ? '' : 's'}` : ''}
            </span>
            {file.document_id && ['done', 'unchanged'].includes(file.state) && <Mark id={file.document_id} />}
            {file.reason && <p className="aegis-note">{file.reason}</p>}
          </li>
        ))}
      </ul>
      {price && (
        <div className="aegis-followups" aria-label="Let a paid model read">
          <p className="aegis-note">
            {price.model} at {price.provider} could read {price.chunks.toLocaleString()} passages for facts: about{' '}
            {price.calls.toLocaleString()} calls, {price.tokens_in.toLocaleString()} tokens read and{' '}
            {price.tokens_out.toLocaleString()} written, ${price.cost.toPrecision(3)} (from a sample of {price.sampled}).
            It stops at the budget. Until you agree nothing is sent.
          </p>
          {agreed ? (
            <p className="aegis-note">{agreed}</p>
          ) : (
            <button type="button" className="aegis-followup" onClick={agree}>
              Let {price.model} read them
            </button>
          )}
        </div>
      )}
    </div>
  )
}
