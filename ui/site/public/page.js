// What Chainlit's page lacks: an address that leads back to the conversation, and notices on the empty page.
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

  let last = []
  const look = async () => {
    if (document.hidden || !document.getElementById('welcome-screen')) return
    try {
      const answer = await fetch(`${root}/notices`)
      if (answer.ok) last = (await answer.json()).notices
    } catch {
      return // the page itself says when the server cannot be reached
    }
    draw(last)
  }

  let waiting = false
  new MutationObserver(() => {
    if (waiting || !document.getElementById('welcome-screen') || document.getElementById('aegis-welcome')) return
    waiting = true
    setTimeout(() => {
      waiting = false
      look()
    }, 50)
  }).observe(document.documentElement, { childList: true, subtree: true })
  setInterval(look, 5000)
})()
