// What users of the stock SDK write, one function a scenario: `node run.mjs NAME` prints what it saw as JSON.
// The house is named by OPENAI_BASE_URL and OPENAI_API_KEY, as for any program that uses the SDK.
import * as http from './http.mjs'
import * as sockets from './sockets.mjs'

const scenario = { ...http, ...sockets }[process.argv[2]]
console.log(JSON.stringify(await scenario()))
