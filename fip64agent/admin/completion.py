# SPDX-License-Identifier: Apache-2.0
"""Bash completion for fip64ctl: needs no bash-completion package, and completes objects by what
the agent knows. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_SCRIPT = r"""# bash completion of fip64ctl; made by "fip64ctl complete"
# Install: fip64ctl complete > /etc/bash_completion.d/fip64ctl, or: source <(fip64ctl complete)

_fip64ctl()
{
    local -A options=(
@OPTIONS@
    )
    # What the agent is asked for to complete the argument of a command.
    local -A questions=(
@QUESTIONS@
    )
    local flags=" @FLAGS@ "
    # The words up to the cursor. COMP_WORDS would be cut at the colons of addresses.
    local line=${COMP_LINE:0:COMP_POINT} cur= prev= word found=fip64ctl skip= arguments=0
    local -a words settings=()
    read -ra words <<< "$line"
    [[ $line == *[[:space:]] ]] || { cur=${words[-1]}; unset 'words[-1]'; }
    prev=${words[-1]}

    for word in "${words[@]:1}"; do
        if [[ $skip ]]; then
            [[ $skip == keep ]] && settings+=("$word")
            skip=
        elif [[ $word == --socket || $word == --config-file ]]; then
            settings+=("$word")
            skip=keep
        elif [[ $word == -* ]]; then
            [[ $flags == *" $word "* ]] || skip=drop
        elif [[ ${options["$found $word"]+known} ]]; then
            found+=" $word"
        else
            ((arguments++))
        fi
    done

    COMPREPLY=()
    case $prev in
        --socket|--config-file|--log-file)
            mapfile -t COMPREPLY < <(compgen -f -- "$cur")
            return;;
@VALUES@
        -*)
            [[ $flags == *" $prev "* ]] || return;;
    esac
    if [[ $cur == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "${options["$found"]}" -- "$cur")
    elif [[ ${questions["$found"]} && $arguments == 0 ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$("$1" "${settings[@]}" ${questions["$found"]} \
            2>/dev/null)" -- "$cur")
        # readline replaces only what follows the last colon
        COMPREPLY=("${COMPREPLY[@]#"${cur%"${cur##*:}"}"}")
    else
        local next= name
        for name in "${!options[@]}"; do
            [[ $name == "$found "* ]] || continue
            name=${name#"$found "}
            next+=" ${name%% *}"
        done
        mapfile -t COMPREPLY < <(compgen -W "$next" -- "$cur" | sort -u)
    fi
}
complete -F _fip64ctl fip64ctl
"""


def script(commands: Mapping[str, Sequence[str]], values: Mapping[str, Sequence[str]],
           flags: Sequence[str], questions: Mapping[str, str]) -> str:
    """Return the script.

    `commands`: command, "" for none yet -> its options. `values`: option -> what may follow it.
    `flags`: options that take no value. `questions`: command -> the command that prints what its argument may
    be.
    """
    groups = {" ".join(name.split()[:-1]): () for name in commands if " " in name}
    options = "\n".join(f'        ["{f"fip64ctl {name}".strip()}"]="{" ".join(sorted(found))}"'
                        for name, found in sorted({**groups, **commands}.items()))
    choices = "\n".join(f'        {option})\n            mapfile -t COMPREPLY < <(compgen -W '
                        f'"{" ".join(known)}" -- "$cur")\n            return;;'
                        for option, known in sorted(values.items()))
    asked = "\n".join(f'        ["fip64ctl {name}"]="{question}"'
                      for name, question in sorted(questions.items()))
    return (_SCRIPT.replace("@OPTIONS@", options).replace("@VALUES@", choices).replace("@QUESTIONS@", asked)
            .replace("@FLAGS@", " ".join(sorted(flags))))
