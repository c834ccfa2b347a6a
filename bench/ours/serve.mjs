import { createInterface } from 'node:readline';

/** Answers lines `command word ...` by `commands[command](...words)`, one at a time. */
export async function serve(commands) {
  for await (const line of createInterface({ input: process.stdin })) {
    const [name, ...words] = line.split(' ');
    let answer;
    try {
      answer = await commands[name](...words);
    } catch (error) {
      answer = `error: ${error.message.replaceAll('\n', ' ')}`;
    }
    console.log(String(answer));
  }
}
