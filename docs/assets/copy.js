// What a console block's button copies: the commands, without prompts and without what they print.
// A line that starts "$ " is typed, "> " continues it; the rest is output (tests/integration/docs/console.py reads it so).
for (const block of document.querySelectorAll(".language-console")) {
  const typed = []
  let open = false
  for (const line of block.querySelector("code").innerText.split("\n")) {
    open = line.startsWith("$ ") || (open && /^>( |$)/.test(line))
    if (open) typed.push(line.slice(2))
  }
  if (typed.length) block.dataset.copy = typed.join("\n")
}
