/** Of the program: in `--version`, and in reports of crashes. */
export const programVersion = '0.1.0'
