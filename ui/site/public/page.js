// What Chainlit's page lacks: an address that leads back to the conversation, notices on the empty page, warnings of
// money, and the switch that lets a conversation go to cloud models.
(() => {
  'use strict'
  const root = '/chat'

  // The server says which conversation this is once it exists.
  window.addEventListener('message', (event) => {
    const said = event.data
    if (event.origin !== window.location.origin || !said || said.aegis !== 'conversation') return
    const path = `${root}/thread/${encodeURIComponent(said.id)}`
    const here = window.location.pathname.replace(/\/$/, '')
    if (here === root) window.history.replaceState(window.history.state, '', path)
  })

  // A citation's mark is never followed as a link, even before its element is there.
  document.addEventListener('click', (event) => {
    if (event.target.closest && event.target.closest('a[href^="#cite-"]')) event.preventDefault()
  })

  const text = (tag, className, words) => {
    const made = document.createElement(tag)
    made.className = className
    made.textContent = words
    return made
  }

  const notice = (said) => {
    const made = text('p', 'aegis-notice', said.text)
    // Commands stand between back quotes.
    for (const [number, part] of (said.advice || '').split('`').entries()) {
      made.append(number % 2 ? text('code', '', part) : (number ? part : ` ${part}`))
    }
    return made
  }

  let shown = ''
  const draw = (notices) => {
    const screen = document.getElementById('welcome-screen')
    if (!screen) return
    notices = notices.filter((one) => one.kind !== 'money')
    let place = document.getElementById('aegis-welcome')
    const state = JSON.stringify(notices)
    if (place && state === shown) return
    if (!place) {
      place = document.createElement('div')
      place.id = 'aegis-welcome'
      place.setAttribute('role', 'status')
      screen.append(place)
    }
    shown = state
    place.replaceChildren(...notices.map(notice))
  }

  // What concerns money stays in view above a conversation, too.
  const warn = (notices) => {
    const said = notices.filter((one) => one.kind === 'money').map((one) => one.text)
    let place = document.getElementById('aegis-money')
    if (!said.length) {
      if (place) place.remove()
      return
    }
    if (!place) {
      place = text('div', '', '')
      place.id = 'aegis-money'
      place.setAttribute('role', 'status')
      document.body.append(place)
    }
    if (place.textContent !== said.join('')) place.replaceChildren(...said.map((words) => text('p', '', words)))
  }

  // Whether this conversation may be sent to cloud models: shown where the operator allows any.
  const thread = () => {
    const found = window.location.pathname.match(/\/chat\/thread\/([0-9a-f-]{36})/)
    return found ? found[1] : null
  }

  const share = async (id, shareable) => {
    const answer = await fetch(`/api/v1/conversations/${id}/shareable`, { method: shareable ? 'PUT' : 'DELETE' })
    if (answer.ok) sharing()
  }

  const sharing = async () => {
    const id = thread()
    let place = document.getElementById('aegis-sharing')
    const answer = id ? await fetch(`/api/v1/conversations/${id}/shareable`).catch(() => null) : null
    const state = answer && answer.ok ? await answer.json() : null
    const composer = document.getElementById('message-composer')
    if (!state || state.asks || !state.clouds.length || !composer || thread() !== id) {
      if (place) place.remove()
      return
    }
    if (!place || !place.isConnected || place.nextElementSibling !== composer) {
      if (place) place.remove()
      place = text('button', '', '')
      place.id = 'aegis-sharing'
      place.type = 'button'
      place.setAttribute('role', 'switch')
      composer.before(place)
    }
    const clouds = state.clouds.join(', ')
    const collections = state.collections.includes('*') ? 'all collections' : state.collections.join(', ') || 'none'
    const stays = state.rests_on_private
    place.setAttribute('aria-checked', String(state.shareable && !stays))
    place.setAttribute('aria-disabled', String(stays))
    place.textContent = stays
      ? 'Private: an answer here was made from a private document'
      : state.shareable
        ? `Shared: questions of this conversation may go to ${clouds}`
        : 'Private: this conversation stays on this machine'
    place.title = stays
      ? 'It stays on this machine. To ask a cloud model, begin another conversation.'
      : state.shareable
        ? `With passages of: ${collections}. Click to keep it on this machine.`
        : `Click to let its questions go to ${clouds}, with passages of: ${collections}.`
    place.onclick = stays ? null : () => share(id, !state.shareable)
  }

  let last = []
  const look = async () => {
    if (document.hidden) return
    try {
      const answer = await fetch(`${root}/notices`)
      if (answer.ok) last = (await answer.json()).notices
    } catch {
      return // the page itself says when the server cannot be reached
    }
    draw(last)
    warn(last)
    await sharing()
  }

  const empty = () => document.getElementById('welcome-screen')
  const state = () => `${window.location.pathname} ${document.querySelectorAll('.aegis-below').length}`
  let seen = ''
  let waiting = false
  const soon = () => {
    if (waiting) return
    waiting = true
    setTimeout(() => {
      waiting = false
      seen = state()
      look()
    }, 50)
  }
  // The empty page came up, an answer was completed, another conversation was opened.
  new MutationObserver(() => {
    if (state() !== seen || (empty() && !document.getElementById('aegis-welcome'))) soon()
  }).observe(document.documentElement, { childList: true, subtree: true })
  setInterval(() => empty() && look(), 5000)
  setInterval(look, 30000)
  window.addEventListener('aegis-marked', sharing)
})()
