/**
 * Names of objects, below the store's prefix:
 *
 *     v1/<key>/manifests/<number, 10 digits>.json.gz
 *     v1/<key>/manifests/<number, 10 digits>-<nonce>.json.gz    where the server cannot create if absent
 *     v1/<key>/layers/<layer>                                   its files, one after the other
 *     v1/<key>/claims/<record>
 *     conditional-writes                                        see s3-create.ts
 */
const MANIFEST_NAME = /^(\d{10})(?:-[0-9a-f]{24})?\.json\.gz$/;

export const PROBE = 'conditional-writes';

export class S3Keys {
  readonly #folder: string;

  constructor(key: string) {
    this.#folder = `v1/${key}/`;
  }

  get manifests(): string {
    return `${this.#folder}manifests/`;
  }

  get layers(): string {
    return `${this.#folder}layers/`;
  }

  get claims(): string {
    return `${this.#folder}claims/`;
  }

  manifest(number: number, nonce?: string): string {
    const suffix = nonce === undefined ? '' : `-${nonce}`;
    return `${this.manifestPrefix(number)}${suffix}.json.gz`;
  }

  /** What the names of all manifests of a number begin with. */
  manifestPrefix(number: number): string {
    return `${this.manifests}${String(number).padStart(10, '0')}`;
  }

  layer(name: string): string {
    return `${this.layers}${name}`;
  }

  claim(name: string): string {
    return `${this.claims}${name}`;
  }
}

/** The number of a manifest by its name in the folder; undefined for what is none of ours. */
export function numberOf(name: string): number | undefined {
  const number = Number(MANIFEST_NAME.exec(name)?.[1] ?? 0);
  return number > 0 ? number : undefined;
}
