// The library's own way to a backend with threads, which needs a worker. The first message is the number of threads, each other one a question.
import { createBackend } from '/dist/backend/create-backend-browser.js';
import { contestantOf } from './deftune.js';

let contestant;
const answer = async (question) => {
  if (contestant === undefined) {
    const backend = await createBackend({ threads: question });
    contestant = contestantOf(backend);
    return `${contestant.name}, threads ${backend.threads()}`;
  }
  return question === 'first' ? contestant.first() : contestant.ask(question);
};
onmessage = async ({ data }) => {
  postMessage(await answer(data));
};
