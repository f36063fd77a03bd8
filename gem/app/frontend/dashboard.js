// Polls fragments and maps keys to buttons. Without it every page still works.
for (const element of document.querySelectorAll("[data-poll]")) {
  const poll = async () => {
    if (!document.hidden) {
      const response = await fetch(element.dataset.poll, { cache: "no-cache", headers: { Accept: "text/html" } }).catch(() => null)
      if (response && response.ok) {
        const text = await response.text()
        if (text !== element.dataset.shown) {
          element.dataset.shown = text
          element.innerHTML = text
        }
        if (element.querySelector(".state.succeeded, .state.failed, .state.cancelled")) return location.reload()
      }
    }
    setTimeout(poll, 2000)
  }
  setTimeout(poll, 2000)
}

document.addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey || event.target.matches("input, textarea, select")) return
  const button = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`)
  if (button) button.click()
})
