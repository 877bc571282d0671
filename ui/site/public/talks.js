// Files of conversations: save this one or all of them, take a file in; and what went with one that was deleted.
(() => {
  'use strict'
  const api = '/api/v1/conversations'
  const AFTER_RELOAD = 'aegis-said'

  const made = (tag, className, words) => {
    const element = document.createElement(tag)
    element.className = className
    element.textContent = words
    return element
  }

  const say = (words) => {
    let place = document.getElementById('aegis-said')
    if (!place) {
      place = made('div', '', '')
      place.id = 'aegis-said'
      place.setAttribute('role', 'status')
      document.body.append(place)
    }
    const line = made('p', '', words)
    const close = made('button', '', '×')
    close.type = 'button'
    close.setAttribute('aria-label', 'Close')
    close.onclick = () => line.remove()
    line.append(close)
    place.append(line)
  }

  const counted = (count, name) => `${count} ${name}${count === 1 ? '' : 's'}`

  const takeIn = async (file) => {
    const answer = await fetch(`${api}/import`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/x-ndjson' },
      body: file
    }).catch(() => null)
    const said = answer && (await answer.json().catch(() => null))
    if (!answer || !answer.ok) {
      say((said && said.error && said.error.message) || 'The file could not be taken in.')
      return
    }
    // The list of conversations is read when the page is.
    sessionStorage.setItem(
      AFTER_RELOAD,
      `Taken in: ${counted(said.conversations, 'conversation')}, ${counted(said.turns, 'turn')}; ${said.known} were here.`
    )
    window.location.reload()
  }

  const link = (words, address) => {
    const element = made('a', '', words)
    element.href = address
    element.setAttribute('download', '')
    return element
  }

  const picker = () => {
    const button = made('button', '', 'Import …')
    const input = made('input', '', '')
    input.type = 'file'
    input.accept = '.jsonl,.ndjson'
    input.hidden = true
    input.onchange = () => input.files.length && takeIn(input.files[0])
    button.type = 'button'
    button.title = 'JSON lines that an export has written'
    button.onclick = () => input.click()
    return [button, input]
  }

  const thread = () => {
    const found = window.location.pathname.match(/\/chat\/thread\/([0-9a-f-]{36})/)
    return found ? found[1] : ''
  }

  const draw = () => {
    const composer = document.getElementById('message-composer')
    if (!composer) return
    const id = thread()
    const known = document.getElementById('aegis-files')
    if (known && known.dataset.of === id && known.previousElementSibling === composer) return
    if (known) known.remove()
    const place = made('div', '', id ? 'Save this conversation: ' : 'Save all conversations: ')
    place.id = 'aegis-files'
    place.dataset.of = id
    const address = id ? `${api}/${id}/export` : `${api}/export`
    place.append(link('Markdown', `${address}?format=markdown`), link('JSON lines', `${address}?format=jsonl`))
    place.append(...picker())
    composer.after(place)
  }

  // Chainlit answers a deletion without saying what went.
  const receipts = async () => {
    const answer = await fetch('/chat/receipts').catch(() => null)
    if (answer && answer.ok) (await answer.json()).receipts.forEach(say)
  }
  new PerformanceObserver((list) => {
    if (list.getEntries().some((entry) => entry.name.endsWith('/project/thread'))) receipts()
  }).observe({ type: 'resource' })

  let waiting = false
  new MutationObserver(() => {
    if (waiting) return
    waiting = true
    setTimeout(() => {
      waiting = false
      draw()
    }, 100)
  }).observe(document.documentElement, { childList: true, subtree: true })

  const left = sessionStorage.getItem(AFTER_RELOAD)
  if (left) {
    sessionStorage.removeItem(AFTER_RELOAD)
    window.addEventListener('load', () => say(left))
  }
})()
