/**
 * Names of objects, below the store's prefix:
 *
 *     v1/<key>/manifests/<number, 10 digits>.json.gz
 *     v1/<key>/manifests/<number, 10 digits>-<nonce>.json.gz    where the server has no conditional writes
 *     v1/<key>/layers/<layer>.tar
 *     v1/<key>/claims/<record>
 *     conditional-writes                                        see create.ts
 */
import { digitsOf } from '../names.ts';

const MANIFEST_NAME = /^(\d{10})(?:-[0-9a-f]{24})?\.json\.gz$/;
const LAYER_NAME = /^(.+)\.tar$/;

export const PROBE = 'conditional-writes';

export class S3Keys {
  readonly manifests: string;
  readonly layers: string;
  readonly claims: string;

  constructor(key: string) {
    this.manifests = `v1/${key}/manifests/`;
    this.layers = `v1/${key}/layers/`;
    this.claims = `v1/${key}/claims/`;
  }

  manifest(number: number, nonce?: string): string {
    const suffix = nonce === undefined ? '' : `-${nonce}`;
    return `${this.manifests}${digitsOf(number)}${suffix}.json.gz`;
  }

  layer(name: string): string {
    return `${this.layers}${name}.tar`;
  }
}

/** The number of a manifest by its name in the folder; undefined for a foreign object. */
export function numberOf(name: string): number | undefined {
  const number = Number(MANIFEST_NAME.exec(name)?.[1] ?? 0);
  return number > 0 ? number : undefined;
}

/** The name of a layer by that of its object in the folder; undefined for a foreign object. */
export function layerOf(name: string): string | undefined {
  return LAYER_NAME.exec(name)?.[1];
}
