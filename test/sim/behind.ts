// A simulation has its own time: the processors are first for the tests beside it, which have that of the world.
import { constants, setPriority } from 'node:os';

setPriority(constants.priority.PRIORITY_BELOW_NORMAL);
