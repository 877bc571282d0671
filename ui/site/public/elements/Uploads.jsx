// Files on their way into the store, with the reason where one is refused.
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
  const { files, state, done, total, left } = props
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
    </div>
  )
}
