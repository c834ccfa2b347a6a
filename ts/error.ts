/**
 * The one error class this library throws on purpose. Its message is a single line for a person to
 * act on: it names the file, the field, the value found and what was expected instead.
 */
export class DeftuneError extends Error {
  override readonly name = 'DeftuneError';

  /**
   * @param message one line; line breaks are replaced by spaces so that a quoted value cannot split it
   * @param options.cause the lower-level error, if there is one
   */
  constructor(message: string, options?: { cause?: unknown }) {
    super(message.replace(/\s*[\r\n\u2028\u2029]+\s*/g, ' '), options);
  }
}
