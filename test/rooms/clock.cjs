// Required into a process by NODE_OPTIONS: its clock is off by the milliseconds in the file that SOTTO_TEST_CLOCK names.
const { readFileSync } = require('node:fs');

const { now } = Date;
Date.now = () => now() + Number(readFileSync(process.env.SOTTO_TEST_CLOCK, 'utf8'));
