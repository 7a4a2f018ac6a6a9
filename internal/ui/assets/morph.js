// morph makes the children of an element like those of another, keeping what is alike: what has the focus, is scrolled or was
// opened stays so. Elements with an ID are known by it, wherever they moved.
export function morph(from, to) {
  const focused = document.activeElement;
  children(from, to);
  if (focused && focused !== document.activeElement && focused.isConnected) {
    focused.focus({ preventScroll: true });
  }
}

function children(from, to) {
  const known = new Map();
  for (const child of from.children) {
    if (child.id) {
      known.set(child.id, child);
    }
  }
  let at = from.firstChild;
  for (const want of [...to.childNodes]) {
    const have = want.id ? known.get(want.id) : alike(at, want) ? at : null;
    if (!have || have.nodeName !== want.nodeName) {
      from.insertBefore(want, at);
      continue;
    }
    if (have === at) {
      at = at.nextSibling;
    } else {
      from.insertBefore(have, at);
    }
    node(have, want);
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

function alike(have, want) {
  return have && have.nodeType === want.nodeType && have.nodeName === want.nodeName && !have.id;
}

function node(have, want) {
  if (have.nodeType !== Node.ELEMENT_NODE) {
    if (have.nodeValue !== want.nodeValue) {
      have.nodeValue = want.nodeValue;
    }
    return;
  }
  if (have.isEqualNode(want)) {
    return;
  }
  for (const { name, value } of want.attributes) {
    if (have.getAttribute(name) !== value) {
      have.setAttribute(name, value);
    }
  }
  for (const { name } of [...have.attributes]) {
    if (!want.hasAttribute(name) && !(name === "open" && have.nodeName === "DETAILS")) {
      have.removeAttribute(name);
    }
  }
  children(have, want);
}
