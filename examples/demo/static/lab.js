// The race: open all connections, start them at the same moment, draw how long each one waits.

const button = document.getElementById("fire")
const longest = { wait: 1 } // both charts have one scale

async function fire() {
  button.disabled = true
  const { runners } = await (await fetch("/lab/start", { method: "POST" })).json()
  longest.wait = 1
  for (const kind of ["unlocked", "locked"]) await race(kind, runners)
  button.textContent = "Again"
}

function fail() {
  for (const panel of document.querySelectorAll(".race")) say(panel, 0, "The server did not answer.")
}

async function race(kind, runners) {
  const panel = document.getElementById(kind)
  const bars = [...panel.querySelectorAll(".chart i")]
  for (const bar of bars) bar.className = ""
  say(panel, 0, "Opening the connections …")
  const sockets = await Promise.all(bars.map(() => open(kind)))
  say(panel, 0, "Running …")
  const began = performance.now()
  const running = sockets.map((socket, number) => run(socket, bars[number], began))
  const results = await Promise.all(running)
  const counters = await (await fetch("/lab/counters")).json()
  tell(panel, counters[kind], runners, results)
}

function open(kind) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(location.origin.replace(/^http/, "ws") + "/lab/race/" + kind)
    socket.onopen = () => resolve(socket)
    socket.onerror = reject
  })
}

// Gives { waited, worker } as the server measured it, when the request is over.
function run(socket, bar, began) {
  let result = { waited: 0, worker: 0 }
  bar.className = "waiting"
  const grow = () => {
    if (bar.className !== "waiting") return
    draw(bar, performance.now() - began)
    requestAnimationFrame(grow)
  }
  return new Promise(resolve => {
    socket.onmessage = event => {
      result = JSON.parse(event.data)
    }
    socket.onclose = () => {
      bar.className = "done"
      draw(bar, result.waited)
      resolve(result)
    }
    socket.send("go")
    grow()
  })
}

function draw(bar, milliseconds) {
  longest.wait = Math.max(longest.wait, milliseconds)
  bar.style.setProperty("--wait", milliseconds)
  document.documentElement.style.setProperty("--longest", longest.wait)
}

function tell(panel, counted, runners, results) {
  const waits = results.map(result => result.waited).sort((a, b) => a - b)
  const workers = new Set(results.map(result => result.worker)).size
  const most = Math.round(waits.at(-1))
  const middle = Math.round(waits[waits.length >> 1])
  const lost = runners - counted
  panel.dataset.verdict = lost ? "bad" : "good"
  const served = `${workers} worker${workers > 1 ? "s" : ""}`
  say(panel, counted, (lost ? `${lost} updates lost.` : "Every update is there.")
    + ` Waits: median ${middle} ms, longest ${most} ms, on ${served}.`)
  panel.querySelector(".chart").setAttribute("aria-label",
    `${runners} bars, one for each request: waits of ${Math.round(waits[0])} to ${most} milliseconds`)
}

function say(panel, counted, text) {
  panel.querySelector("output").textContent = counted
  panel.querySelector(".verdict").textContent = text
}

button.onclick = () => fire().catch(fail).finally(() => { button.disabled = false })
button.disabled = false
