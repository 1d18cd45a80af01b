// The socket in the header: it closes when the session ends, wherever that was decided.

const badge = document.getElementById("live")

function connect() {
  const socket = new WebSocket(location.origin.replace(/^http/, "ws") + "/live")
  socket.onopen = () => show("live", "on")
  socket.onclose = event => (event.code === 1008 ? ask() : show("offline", "off"))
  // A form leads to another page, whose socket is the next one.
  document.addEventListener("submit", () => { socket.onclose = null; socket.close() })
}

// Ended, or only given a new token by another tab? Then the cookie that is here by now is good.
async function ask() {
  const answer = await fetch("/me")
  const { user } = await answer.json()
  if (user !== null) return connect()
  show("signed out", "off")
  document.getElementById("ended").hidden = false
}

function show(text, state) {
  badge.textContent = text
  badge.dataset.state = state
}

connect()
