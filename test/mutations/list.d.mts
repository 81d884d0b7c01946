export const mutations: readonly (readonly [
  title: string,
  file: string,
  from: string,
  to: string,
  tests: readonly string[],
])[];
