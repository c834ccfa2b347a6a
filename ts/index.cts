/** Entry for `require` in Node, whose 20.19 and later load ES modules so. */
// eslint-disable-next-line @typescript-eslint/no-require-imports
import deftune = require('./index.js');
export = deftune;
