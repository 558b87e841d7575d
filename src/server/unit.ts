// The file by which systemd runs a server.
import { asUnitWord } from '../protocol/safe-text.ts';

/** A unit for `~/.config/systemd/user/sotto-server.service`, or for /etc/systemd/system with a `User=` of its own. */
export const serverUnit = ({ program, args }: { readonly program: string; readonly args: readonly string[] }): string =>
  [
    '[Unit]',
    'Description=sotto server',
    'After=network-online.target',
    'Wants=network-online.target',
    '',
    '[Service]',
    'Type=exec',
    `ExecStart=${[program, 'serve', ...args].map(asUnitWord).join(' ')}`,
    'ExecReload=/bin/kill -HUP $MAINPID',
    'Restart=on-failure',
    'RestartSec=5',
    'TimeoutStopSec=30',
    'UMask=0077',
    'LimitCORE=0',
    'LimitNOFILE=65536',
    'NoNewPrivileges=yes',
    'PrivateTmp=yes',
    'ProtectSystem=full',
    'RestrictSUIDSGID=yes',
    'LockPersonality=yes',
    '',
    '[Install]',
    'WantedBy=default.target',
    '',
  ].join('\n');
