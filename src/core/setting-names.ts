/** The flag and the environment variable of a setting. */

/** `endpointUrl` -> `--endpoint-url` */
export function flagOf(name: string): string {
  return `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

/** `endpointUrl` -> `DOCPROC_ENDPOINT_URL` */
export function variableOf(name: string): string {
  return `DOCPROC_${name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`;
}
