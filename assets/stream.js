// Gradio's server ends the stream of answers when it has sent the last one that it knows of. An event that is asked for
// at that moment goes unheard, for the page learns of the end only after it took the stream for an open one, and the
// button it came from is dead from then on. So to Gradio's page the stream never ends: here it is told of no end, and
// asked for again as long as an answer is due.
(() => {
  const plain = window.fetch.bind(window);
  const due = new Set(); // ids of events whose answer has not come
  const early = new Set(); // of those whose answer came before the page knew that it had asked
  let wake = () => {};

  window.fetch = async (input, options) => {
    const path = new URL(input.url ?? input, document.baseURI).pathname;
    if (path.endsWith("/queue/data")) return lasting(new Request(input, options));
    const answer = await plain(input, options);
    if (path.endsWith("/queue/join") && answer.ok) {
      const { event_id: id } = await answer.clone().json();
      if (!early.delete(id)) { due.add(id); wake(); }
    }
    return answer;
  };

  async function lasting(request) {
    const first = await plain(request.clone());
    if (!first.ok) return first;
    const messages = again(request, first);
    const body = new ReadableStream({
      async pull(stream) {
        const { value, done } = await messages.next();
        if (done) stream.close();
        else stream.enqueue(value);
      },
    });
    return new Response(body, { headers: first.headers });
  }

  async function* again(request, answer) {
    const encoder = new TextEncoder();
    for (;;) {
      const over = () => !due.size || request.signal.aborted; // nobody waits for anything, or the page is closing
      for await (const message of split(answer.body, over)) {
        if (message.startsWith('data: {"msg":"close_stream"')) continue;
        if (message.startsWith('data: {"msg":"process_completed"')) {
          const { event_id: id } = JSON.parse(message.slice("data:".length));
          if (!due.delete(id)) early.add(id);
        }
        yield encoder.encode(`${message}\n\n`);
      }
      while (!due.size) await new Promise((go) => { wake = go; });
      if (request.signal.aborted) return;
      answer = await plain(request.clone());
      if (!answer.ok) throw new Error(`The stream of answers is gone (${answer.status}).`);
    }
  }

  // Ends, too, where the connection breaks and `over()` says that it does not matter.
  async function* split(body, over) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read().catch((fault) => { if (over()) return { done: true }; throw fault; });
      if (done) return;
      const messages = (rest + value).split("\n\n");
      rest = messages.pop();
      yield* messages;
    }
  }
})();
