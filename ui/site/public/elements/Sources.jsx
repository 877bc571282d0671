// Under an answer: its sources, what the reader should know, and questions to go on with. Everything is shown as text.
import { useEffect, useState } from 'react'
import { useSetRecoilState } from 'recoil'
import { sideViewState } from '@chainlit/react-client'

// Commands stand between back quotes.
const marked = (words) => words.split('`').map((part, number) => (number % 2 ? <code key={number}>{part}</code> : part))

export default function Sources() {
  const { turn, citations, notes, followups, fresh, standing, told, offer, today } = props
  const [kept, setKept] = useState('')
  const setSideView = useSetRecoilState(sideViewState)

  const open = (citation) =>
    setSideView({
      title: `Source ${citation.marker}`,
      elements: [
        {
          id: `${turn}-${citation.marker}`,
          type: 'custom',
          name: 'Passage',
          display: 'side',
          forId: turn,
          props: citation
        }
      ]
    })

  // The marks in the text are links to #cite-TURN-MARKER; a click opens the passage instead of following them.
  useEffect(() => {
    const clicked = (event) => {
      const link = event.target.closest && event.target.closest('a[href^="#cite-"]')
      if (!link) return
      const citation = citations.find((one) => link.getAttribute('href') === `#cite-${turn}-${one.marker}`)
      if (!citation) return
      event.preventDefault()
      open(citation)
    }
    document.addEventListener('click', clicked, true)
    return () => document.removeEventListener('click', clicked, true)
  }, [turn, citations])

  const keepOpen = async () => {
    const response = await fetch('/api/v1/questions', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ turn_id: turn })
    })
    const said = response.ok ? null : await response.json().catch(() => null)
    setKept(response.ok ? 'You will be told when a document answers this.' : said?.error?.message || 'That failed.')
  }

  return (
    <div className="aegis-below">
      {citations.length > 0 && (
        <div className="aegis-sources" aria-label="Sources">
          {citations.map((citation) => (
            <button key={citation.marker} type="button" className="aegis-source" onClick={() => open(citation)}
              title={citation.source}>
              <span className="aegis-mark">{citation.marker}</span>
              <span className="aegis-source-title">{citation.title}</span>
              {citation.warning && (
                <span className="aegis-source-place" title={citation.warning}>⚠ {citation.warning}</span>
              )}
              {(citation.page || citation.heading) && (
                <span className="aegis-source-place">
                  {citation.page ? `p. ${citation.page}` : citation.heading.split(' > ').pop()}
                </span>
              )}
            </button>
          ))}
        </div>
      )}
      {notes.map((note) => (
        <p key={note} className="aegis-note">{marked(note)}</p>
      ))}
      {today && (
        <div className="aegis-today" role="note" aria-label="What this answer would be today">
          <p className="aegis-note">⚠ {today.told}</p>
          <ul>
            {today.gone.map((text) => <li key={`-${text}`}><del>{text}</del></li>)}
            {today.new.map((text) => <li key={`+${text}`}><ins>{text}</ins></li>)}
          </ul>
          {today.sources.length > 0 && <p className="aegis-note">From: {today.sources.join(', ')}</p>}
          <button type="button" className="aegis-followup" onClick={() => callAction({ name: 'fresh', payload: { turn } })}>
            Ask again
          </button>
        </div>
      )}
      {told && <p className="aegis-told">{told}</p>}
      {offer && (
        <div className="aegis-followups" aria-label="Ask a cloud model">
          <p className="aegis-note">
            {offer.model} at {offer.provider} could answer: your question and the passages above would be sent there,
            for at most ${offer.cost.toFixed(6)}. {marked(offer.reason)}
          </p>
          <button type="button" className="aegis-followup" onClick={() => callAction({ name: 'agree', payload: { turn } })}>
            Ask {offer.model}
          </button>
        </div>
      )}
      {fresh && (
        <button type="button" className="aegis-followup" onClick={() => callAction({ name: 'fresh', payload: { turn } })}>
          Answer anew
        </button>
      )}
      {standing && !kept && (
        <button type="button" className="aegis-followup" onClick={keepOpen}>
          Tell me when the documents answer this
        </button>
      )}
      {kept && <p className="aegis-note">{kept}</p>}
      {followups.length > 0 && (
        <div className="aegis-followups" aria-label="Go on with">
          {followups.map((question) => (
            <button key={question} type="button" className="aegis-followup" onClick={() => sendUserMessage(question)}>
              {question}
            </button>
          ))}
        </div>
      )}
    </div>
  )
}
