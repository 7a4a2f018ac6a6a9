// Server-sent events, with what EventSource leaves to its user: a server that refuses is tried again, and one from which no sign
// of life comes is given up.

const patience = 45_000;
const waits = [1_000, 2_000, 5_000, 10_000, 30_000];

// listen calls show with each page, and state with "connecting", "live" or "lost".
export function listen(url, show, state) {
  let failures = 0;
  let source;
  let timer;

  function open() {
    clearTimeout(timer);
    state(failures > 0 ? "lost" : "connecting");
    source = new EventSource(url);
    source.addEventListener("open", () => {
      failures = 0;
      state("live");
      expect();
    });
    source.addEventListener("page", (event) => {
      show(event.data);
      expect();
    });
    // A comment shows no event here, so the server says that it is there by one.
    source.addEventListener("beat", expect);
    source.addEventListener("error", () => {
      state("lost");
      if (source.readyState === EventSource.CLOSED) {
        again();
      }
    });
  }

  function expect() {
    clearTimeout(timer);
    timer = setTimeout(again, patience);
  }

  function again() {
    source.close();
    clearTimeout(timer);
    state("lost");
    timer = setTimeout(open, waits[Math.min(failures, waits.length - 1)]);
    failures++;
  }

  // A page that is put away holds no connection.
  addEventListener("pagehide", () => {
    clearTimeout(timer);
    source.close();
  });
  addEventListener("pageshow", (event) => event.persisted && open());
  open();
}
