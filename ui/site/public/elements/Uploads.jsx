// Files on their way into the store, with the reason where one is refused, and what a paid model would take to read them.
import { useState } from 'react'

const STATES = {
  queued: 'waiting',
  running: 'being read',
  written: 'nearly there',
  done: 'added',
  unchanged: 'was there already',
  failed: 'refused',
  cancelled: 'cancelled'
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
