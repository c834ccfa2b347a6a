import { readdirSync, type Dirent } from 'node:fs';
import { join } from 'node:path';
import { DeftuneError } from '../error.js';
import type { DataRecord } from './record.js';

const IMAGE = /\.(jpe?g|png|webp|gif|tiff?|avif)$/i;

/** What is above the folders of classes, when it is. */
const SPLITS = ['train', 'training', 'validation', 'valid', 'val', 'dev', 'test'];

/**
 * The images of a folder. In folders a class: each gets its folder's name as its label, and folders inside a class belong to it.
 * Images beside one another in the folder itself have no label. Both are sorted by name; files of other endings and names that begin with a dot
 * are left out.
 *
 * @param dir holds the folders of the classes, or images
 * @throws DeftuneError naming the folder when it has both folders and images of its own, or no images, or a class without any
 */
export function imageFolderRecords(dir: string): DataRecord[] {
  const entries = list(dir);
  const classes = entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
  const images = entries.filter(isImage).map(({ name }) => name);
  if (classes.length > 0 && images.length > 0) {
    throw new DeftuneError(
      `${dir}: the image ${images[0]} is beside the folder ${classes[0]}, expected either images or one folder for each class`,
    );
  }
  const split = classes.find((name) => SPLITS.includes(name));
  if (split !== undefined && classes.every((name) => SPLITS.includes(name))) {
    throw new DeftuneError(
      `${dir}: the folder holds ${classes.join(', ')}, expected the folders of classes, as in ${join(dir, split)}`,
    );
  }
  const found: Omit<DataRecord, 'line'>[] = images.map((name) => ({ image: join(dir, name) }));
  for (const label of classes) {
    const inside = imagesBelow(join(dir, label));
    if (inside.length === 0) {
      throw new DeftuneError(
        `${join(dir, label)}: no images, expected JPEG, PNG, WebP, GIF, TIFF or AVIF files of the class`,
      );
    }
    for (const image of inside) found.push({ image, label });
  }
  return found.map((record, index) => ({ ...record, line: index + 1 }));
}

function imagesBelow(dir: string): string[] {
  return list(dir).flatMap((entry) =>
    entry.isDirectory() ? imagesBelow(join(dir, entry.name)) : isImage(entry) ? [join(dir, entry.name)] : [],
  );
}

function isImage(entry: Dirent): boolean {
  return !entry.isDirectory() && IMAGE.test(entry.name);
}

function list(dir: string): Dirent[] {
  try {
    return readdirSync(dir, { withFileTypes: true })
      .filter(({ name }) => !name.startsWith('.'))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  } catch (cause) {
    throw new DeftuneError(
      `${dir}: cannot read the folder: ${cause instanceof Error ? cause.message : String(cause)}`,
      {
        cause,
      },
    );
  }
}
