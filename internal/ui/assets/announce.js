// What changes is told to those who do not see it: only what matters, only when it has changed, and not all the time.

const atMostEvery = 10_000;

export function announcer(region) {
  let told = "";
  let next = "";
  let timer;

  function say(text) {
    region.textContent = text;
  }

  return {
    // known already, since the page itself says it.
    known(text) {
      told = text;
    },
    // about the state of things, soon.
    about(text) {
      next = text;
      if (next === told || timer) {
        return;
      }
      timer = setTimeout(() => {
        timer = undefined;
        if (next !== told) {
          told = next;
          say(next);
        }
      }, told === "" ? 0 : atMostEvery);
    },
    // now, since the page cannot be trusted otherwise.
    now: say,
  };
}
