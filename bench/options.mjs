import { Command } from 'commander';

/** A bench's command line; every bench has --json. */
export function benchOptions(name, description, add = () => {}) {
  const command = new Command(name).description(description).option('--json <file>', 'write the results as JSON');
  add(command);
  return command.parse().opts();
}

/** Parses a number of at least `least`. */
export const numberFrom = (least) => (text) => {
  const value = Number(text);
  if (text.trim() === '' || !(value >= least)) {
    console.error(`${text}: expected a number from ${least}`);
    process.exit(1);
  }
  return value;
};
