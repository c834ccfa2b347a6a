/** Decoded pixels of 8 bits a channel. */
export interface RawImage {
  width: number;
  height: number;
  channels: number;
  /** [height, width, channels] */
  data: Uint8Array | Uint8ClampedArray;
}
