// The socket in the header: it closes when the session ends, wherever that was decided.

const badge = document.getElementById("live")

function connect() {
  const socket = new WebSocket(location.origin.replace(/^http/, "ws") + "/live")
  socket.onopen = () => show("live", "on")
  socket.onclose = event => (event.code === 1008 ? ask() : show("offline", "off"))
  // A form leads to another page, whose socket is the next one.
  document.addEventListener("submit", () => { socket.onclose = null; socket.close() })
}

// Ended, or only given a new token by another tab? Then the new cookie is here, or on its way with
// the answer to that tab: so it takes three looks to believe the end.
async function ask(looks = 3) {
  const { user } = await (await fetch("/me")).json()
  if (user !== null) return connect()
  if (looks > 1) return setTimeout(ask, 500, looks - 1)
  show("signed out", "off")
  document.getElementById("ended").hidden = false
}

function show(text, state) {
  badge.textContent = text
  badge.dataset.state = state
}

connect()
