// The files by which a system starts the daemon at log-in.

import { asUnitWord } from '../protocol/safe-text.ts';

type Unit = { readonly program: string; readonly account: string; readonly dataDir: string | undefined };

const argsOf = ({ account, dataDir }: Unit): string[] => [
  ...(dataDir === undefined ? [] : ['--data-dir', dataDir]),
  '--account',
  account,
  'daemon',
  'run',
];

/** A systemd user unit, for ~/.config/systemd/user/sotto-NAME.service. */
export const systemdUnit = (unit: Unit): string =>
  [
    '[Unit]',
    `Description=sotto daemon of account ${unit.account}`,
    '',
    '[Service]',
    'Type=exec',
    `ExecStart=${[unit.program, ...argsOf(unit)].map(asUnitWord).join(' ')}`,
    'ExecReload=/bin/kill -HUP $MAINPID',
    'Restart=on-failure',
    'RestartSec=5',
    'UMask=0077',
    'LimitCORE=0',
    'NoNewPrivileges=yes',
    '',
    '[Install]',
    'WantedBy=default.target',
    '',
  ].join('\n');

const xml = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

/** A launchd agent, for ~/Library/LaunchAgents/sotto.NAME.plist. */
export const launchdAgent = (unit: Unit): string =>
  [
    '<?xml version="1.0" encoding="UTF-8"?>',
    '<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">',
    '<plist version="1.0"><dict>',
    `  <key>Label</key><string>sotto.${xml(unit.account)}</string>`,
    '  <key>ProgramArguments</key><array>',
    ...[unit.program, ...argsOf(unit)].map((word) => `    <string>${xml(word)}</string>`),
    '  </array>',
    '  <key>RunAtLoad</key><true/>',
    '  <key>KeepAlive</key><dict><key>SuccessfulExit</key><false/></dict>',
    '</dict></plist>',
    '',
  ].join('\n');
