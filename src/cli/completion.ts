/** `wgqa completion`: scripts that complete commands, options and their words in a shell. */
import { Argument, type Command, type Option } from 'commander';
import type { CliContext } from './context.ts';
import { addCommand } from './options.ts';

const SHELLS = ['bash', 'zsh', 'fish'] as const;
type Shell = (typeof SHELLS)[number];

export function addCompletionCommand(program: Command, context: CliContext): void {
  addCommand(
    program,
    'completion',
    'Write a script that completes commands and options in a shell.',
    [
      'source <(wgqa completion bash)',
      'wgqa completion zsh > "${fpath[1]}/_wgqa"',
      'wgqa completion fish > ~/.config/fish/completions/wgqa.fish',
    ],
    { json: false },
  )
    .addArgument(new Argument('<shell>', 'which shell').choices(SHELLS))
    .action((shell: Shell) => {
      context.stdout.write(SCRIPTS[shell](grammarOf(program)));
    });
}

interface Flag {
  /** `--dtype` and, if there is one, its short form. */
  readonly names: readonly string[];
  readonly description: string;
  readonly takesValue: boolean;
  /** The words that its value may be; empty where it may be any, or a file. */
  readonly words: readonly string[];
}

interface Grammar {
  readonly name: string;
  readonly summary: string;
  readonly flags: readonly Flag[];
  /** Words of its first argument; empty where that is a file. */
  readonly words: readonly string[];
}

function grammarOf(program: Command): Grammar[] {
  return program.commands.map((command) => ({
    name: command.name(),
    summary: command.summary(),
    flags: [...command.options.map(flagOf), HELP],
    words: command.registeredArguments[0]?.argChoices ?? [],
  }));
}

const HELP: Flag = {
  names: ['--help', '-h'],
  description: 'display help',
  takesValue: false,
  words: [],
};

function flagOf(option: Option): Flag {
  const { long, short, description, argChoices } = option;
  return {
    names: [long, short].filter((name) => name !== undefined),
    description: description.replace(/[\n:;].*/s, ''),
    takesValue: option.required || option.optional,
    words: argChoices ?? [],
  };
}

const SCRIPTS: Readonly<Record<Shell, (commands: readonly Grammar[]) => string>> = {
  bash: bashScript,
  zsh: zshScript,
  fish: fishScript,
};

function bashScript(commands: readonly Grammar[]): string {
  const names = commands.map(({ name }) => name).join(' ');
  const values = commands.flatMap(({ name, flags }) =>
    flags
      .filter(({ takesValue }) => takesValue)
      .map(({ names: [flag], words }) => {
        const reply = words.length > 0 ? `compgen -W '${words.join(' ')}'` : 'compgen -f';
        return `    '${name} ${flag}') COMPREPLY=($(${reply} -- "$word")); return ;;`;
      }),
  );
  const flags = commands.map(({ name, flags, words }) => {
    const all = [...flags.flatMap((flag) => flag.names), ...words].join(' ');
    return `    ${name}) COMPREPLY=($(compgen -W '${all}' -- "$word")) ;;`;
  });
  return `# bash completion of wgqa: source <(wgqa completion bash)
_wgqa() {
  local word="\${COMP_WORDS[COMP_CWORD]}" before="\${COMP_WORDS[COMP_CWORD-1]}"
  COMPREPLY=()
  if [ "$COMP_CWORD" = 1 ]; then
    COMPREPLY=($(compgen -W '${names} --help --version' -- "$word"))
    return
  fi
  case "\${COMP_WORDS[1]} $before" in
${values.join('\n')}
  esac
  case "\${COMP_WORDS[1]}" in
${flags.join('\n')}
  esac
}
complete -o default -o filenames -F _wgqa wgqa
`;
}

function zshScript(commands: readonly Grammar[]): string {
  const names = commands.map(({ name, summary }) => `    '${name}:${zshText(summary)}'`);
  const cases = commands.map(({ name, flags, words }) => {
    const specs = flags.flatMap(({ names: flagNames, description, takesValue, words: of }) => {
      const value = of.length > 0 ? `:value:(${of.join(' ')})` : ':value:_files';
      return flagNames.map(
        (flag) => `        '${flag}[${zshText(description)}]${takesValue ? value : ''}'`,
      );
    });
    const rest = words.length > 0 ? `'*:word:(${words.join(' ')})'` : "'*:file:_files'";
    return `    ${name})\n      _arguments \\\n${[...specs, `        ${rest}`].join(' \\\n')} ;;`;
  });
  return `#compdef wgqa
# zsh completion of wgqa: wgqa completion zsh > "\${fpath[1]}/_wgqa"
_wgqa() {
  local -a commands
  commands=(
${names.join('\n')}
  )
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  local command="$words[2]"
  words=("\${(@)words[2,-1]}")
  (( CURRENT -= 1 ))
  case "$command" in
${cases.join('\n')}
  esac
}
if [ "$funcstack[1]" = _wgqa ]; then _wgqa "$@"; else compdef _wgqa wgqa; fi
`;
}

/** Within single quotes and brackets. */
function zshText(text: string): string {
  return text.replaceAll("'", "'\\''").replaceAll(/[[\]:]/g, '\\$&');
}

function fishScript(commands: readonly Grammar[]): string {
  const quoted = (text: string): string => `'${text.replaceAll(/[\\']/g, '\\$&')}'`;
  const lines = commands.flatMap(({ name, summary, flags, words }) => {
    const within = `complete -c wgqa -n '__fish_seen_subcommand_from ${name}'`;
    return [
      `complete -c wgqa -f -n __fish_use_subcommand -a ${name} -d ${quoted(summary)}`,
      ...flags.map(({ names, description, takesValue, words: of }) => {
        const spelled = names.map((flag) => flag.replace(/^--/, '-l ').replace(/^-(?=\w$)/, '-s '));
        const value = takesValue ? (of.length > 0 ? ` -x -a ${quoted(of.join(' '))}` : ' -r') : '';
        return `${within} ${spelled.join(' ')}${value} -d ${quoted(description)}`;
      }),
      ...(words.length > 0 ? [`${within} -f -a ${quoted(words.join(' '))}`] : []),
    ];
  });
  return `# fish completion of wgqa\n${lines.join('\n')}\n`;
}
