// What a name looks like, so that no two members and no two channels have names that a person takes for each other.
import confusables from 'unhomoglyph/data.json' with { type: 'json' };

const PROTOTYPES: ReadonlyMap<string, string> = new Map(Object.entries(confusables));
const INVISIBLE = /\p{Default_Ignorable_Code_Point}/gu;

/**
 * The skeleton of UTS 39, section 4: NFD, without what shows nothing, each character replaced by the one that it is confused
 * with, NFD. Then lower case, since names are: the table maps a zero to a capital O. Two names that look alike have the same;
 * it is for comparing, never for showing.
 */
export const skeletonOf = (name: string): string => {
  const shown = name.normalize('NFD').replace(INVISIBLE, '');
  return [...shown]
    .map((char) => PROTOTYPES.get(char) ?? char)
    .join('')
    .normalize('NFD')
    .toLowerCase();
};
