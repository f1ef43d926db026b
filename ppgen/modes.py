"""Training flags of modules, put back one by one."""

from ppgen.undisturbed import keeping_modes as keeping_modes
