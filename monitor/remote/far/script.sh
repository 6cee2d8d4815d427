kill -0 "-$$" 2>/dev/null || ! command -v setsid >/dev/null 2>&1 || exec setsid /bin/sh -c 'IFS= read -r l; eval "$l"' pylon-monitor; IFS= read -r l; eval "$l"
nl=$(printf '\nx'); nl=${nl%x}; s=; while IFS= read -r l; do [ "$l" = "#end-of-script" ] && break; s="$s$l$nl"; done; [ "$l" = "#end-of-script" ] && eval "$s"

# What a server runs for its monitor: POSIX sh, built-ins alone for what is read every time, no file written.
#
#   requests -> forward --.
#   nvidia-smi -> gpu_half --+-> pipe -> frames -> answers
#   nvidia-smi -> apps_half -|
#                 top_half -'
#
# The first process, $$, watches them and ends all of them at end of input, at a failed write, and if
# no request has come for PATIENCE_S.
# `frames` never waits for anything but this pipe, so nothing that nvidia-smi does can hold it. Each line
# in the pipe is one write below PIPE_BUF: lines of several writers never mix.
# The two lines above read the rest. First they make this process the leader of its group, if it is not
# that already (sshd makes it so): the group is what is ended.
# far_script() leaves out lines that are comments, and indentation: no string here goes over a line's end.

exec 2>/dev/null
LC_ALL=C
export LC_ALL
unset IFS
set -f
PATH="$PATH:/usr/bin:/bin:/usr/local/bin:/usr/lib/wsl/lib:/usr/local/nvidia/bin"
PROC=/proc
SYS=/sys
PATIENCE_S=60
SLOW_S=10
TOP_SHARE=5
# far_script() fills in the names between two @.
MOST_TOP=@MOST_PROCESSES@
tab=$(printf '\t')
# A program that prints without an end must not fill this machine's memory through a shell's variable.
ulimit -S -d 65536

# ---- helpers -------------------------------------------------------------------------------------

# now: seconds since boot, '-' without /proc.
look_at_clock() {
    read -r now idle < "$PROC/uptime" || now=-
    case $now in *[!0-9.]* | '') now=- ;; esac
}

# hundredths: the same as a whole number; a leading 0 would make it octal.
in_hundredths() {
    case $1 in *.[0-9][0-9]) hundredths=$((${1%.*} * 100 + 1${1#*.} - 100)) ;; *) hundredths=0 ;; esac
}

# text: $1 with '?' for all but printable ASCII, $2 characters at most.
clean() {
    text=$1
    while [ "${#text}" -gt "$2" ]; do
        text=$(printf "%.${2}s" "$text")
    done
    case $text in
    *[!\ -~]*)
        left=$text
        text=
        while [ -n "$left" ]; do
            first=${left%"${left#?}"}
            left=${left#?}
            case $first in [\ -~]) text=$text$first ;; *) text=$text? ;; esac
        done
        ;;
    esac
}

# name: of process $1, with its line breaks. Fails if it is gone.
name_of() {
    name=
    while IFS= read -r part; do name=$name${name:+$nl}$part; done < "$PROC/$1/comm"
}

# uid, user: owner of process $1; '-' if unknown.
owner_of() {
    uid=-
    user=-
    while read -r key value rest; do
        case $key in Uid:) uid=$value && break ;; esac
    done < "$PROC/$1/status"
    case $uid in *[!0-9]* | '') uid=- && return ;; esac
    eval "user=\$user_$uid"
    if [ -z "$user" ]; then
        user=$(id -un -- "$uid")
        case $user in *[!a-zA-Z0-9._@-]* | '') user=$uid ;; esac
        eval "user_$uid=\$user"
    fi
}

# End all processes of the group, this one too. The group keeps its number from being another's.
end_group() {
    trap '' TERM HUP INT QUIT URG
    # Killing a client of the driver at once has hung GPUs (NVIDIA/dcgm-exporter#84): ask, wait, then kill.
    if kill -TERM "-$$"; then
        sleep 1
        kill -KILL "-$$"
    fi
}

# The supervisor ends all; if it has been killed, the process that notices does.
ask_to_finish() {
    if kill -TERM $$; then
        # bash that was just about to wait takes no notice of it until its wait is over, or of a second one
        # at once. If the first was noticed, no process of the group gets this far.
        sleep 1
        kill -TERM $$
    else
        end_group
    fi
}

# The command $@ as long as there is a supervisor: if it fails, it starts again.
kept_up() {
    while kill -0 $$; do
        ("$@")
        sleep "$SLOW_S" || return
    done
}

# nvidia-smi, whose pid goes into the pipe behind descriptor 5 under the name $1. In a subshell: it becomes that.
run_smi() {
    exec sh -c 'printf "%s %s\n" "$1" "$$" >&5; shift; ulimit -S -d "$(ulimit -H -d)"; exec nvidia-smi "$@" 5>&-' smi "$@"
}

# ---- forward: requests into the pipe, helpers started when they are first asked for ------------------

forward() {
    gpu=
    top=
    while IFS= read -r line; do
        case $line in
        H) printf 'H\n' ;;
        'T '*)
            set -- $line
            case $#$2$4 in *[!0-9]*) continue ;; esac
            case $#$3 in 4*[!a-z+]*) continue ;; 4*) ;; *) continue ;; esac
            printf 'T %s %s %s\n' "$2" "$3" "$4"
            if [ -z "$gpu" ] && [ "$4" -gt 0 ]; then
                gpu=$4
                gpu_half "$gpu" < /dev/null &
            fi
            case $3 in
            *processes*)
                if [ -z "$top" ]; then
                    top=1
                    kept_up top_half < /dev/null &
                fi
                ;;
            esac
            ;;
        esac
    done
    ask_to_finish
}

# ---- GPUs ------------------------------------------------------------------------------------------

# The key comes first. A field that the driver does not know is left out.
gpu_fields=@GPU_FIELDS@

# fields: without the one that $1, nvidia-smi's output, calls invalid. Fails if it names none of them.
drop_field() {
    case $1 in *'not a valid field'*) ;; *) return 1 ;; esac
    kept=
    for field in $(IFS=,; printf '%s ' $fields); do
        case $1 in
        *\"$field\"*) ;;
        *) kept=$kept,$field ;;
        esac
    done
    kept=${kept#,}
    [ "$kept" != "$fields" ] && [ -n "$kept" ] && fields=$kept
}

# The first $1 lines of the input.
first_lines() {
    count=0
    while [ "$count" -lt "$1" ] && IFS= read -r line; do
        count=$((count + 1))
        printf '%s\n' "$line"
    done
}

# now, and burst: how many lines came in this second.
count_burst() {
    look_at_clock
    if [ "$second" = "${now%.*}" ]; then burst=$((burst + 1)); else burst=0; fi
    second=${now%.*}
}

# What nvidia-smi prints to standard error, as messages 'ge time text'.
relay_errors() {
    burst=0
    second=
    while IFS= read -r line; do
        count_burst
        clean "$line" 200
        [ -z "$text" ] || printf 'ge %s %s\n' "$now" "$text"
        [ "$burst" -lt 512 ] || break
    done
}

# The output of nvidia-smi as messages: 'gl time line' for a GPU's figures, 'ge time text' for all else.
relay_gpus() {
    burst=0
    second=
    words=0
    while IFS= read -r line; do
        [ -n "$line" ] || continue
        count_burst
        figures=
        if [ "${#line}" -le 1000 ]; then
            case $line in [0-9],* | [0-9][0-9],* | [0-9][0-9][0-9],*) figures=1 ;; esac
        fi
        if [ -n "$figures" ]; then
            clean "$line" 1000
            text="gl $now $text"
            words=0
        else
            words=$((words + 1))
            clean "$line" 200
            text="ge $now $text"
        fi
        printf '%s\n' "$text"
        # It does not do what was requested: close its output, which ends it at its next line.
        [ "$burst" -lt 512 ] && [ "$words" -lt 64 ] || break
    done
}

# out: the GPUs' figures, read once, and what else nvidia-smi prints; of those that $only names, if it does.
# fields: those that this driver knows.
read_figures() {
    while :; do
        out=$({
            run_smi gp $only --query-gpu="$fields" --format=csv,noheader,nounits 2>&1 >&6 6>&- | {
                # Printed after its end: within its output they would cut a line in two.
                errors=$(first_lines 64)
                [ -z "$errors" ] || printf '%s\n' "$errors" >&6
            }
        } 6>&1 | first_lines 200)
        drop_field "$out" || return 0
    done
}

# Whether $1 has a line of figures.
has_figures() {
    case $nl$1 in *"$nl"[0-9],* | *"$nl"[0-9][0-9],* | *"$nl"[0-9][0-9][0-9],*) ;; *) return 1 ;; esac
}

# The names of the GPUs in the list of all, a line each.
listed_names() {
    while IFS= read -r line; do
        case $line in 'GPU '[0-9]*': '*'(UUID: '*')') ;; *) continue ;; esac
        name=${line##*'(UUID: '}
        name=${name%')'}
        case $name in '' | -* | *[!0-9A-Za-z_.-]*) ;; *) printf '%s\n' "$name" ;; esac
    done
}

# only: the option that names the GPUs whose figures can be read. Fails if there are none. $1: as for run_smi.
find_others() {
    names=$(run_smi "$1" -L | first_lines 128 | listed_names)
    only=
    # One by one: the list may name the dead one too.
    for name in $names; do
        out=$(run_smi "$1" -i "$name" --query-gpu=index,uuid --format=csv,noheader,nounits | first_lines 4)
        has_figures "$out" && only=$only,$name
    done
    [ -n "$only" ] && only="-i ${only#,}"
}

gpu_half() {
    exec 5>&1
    apps=
    pause=$SLOW_S
    printf 'gm %s\n' "$1"
    while :; do
        if ! command -v nvidia-smi > /dev/null; then
            printf 'gs missing\n'
            sleep 60 || return
            continue
        fi
        printf 'gs started\n'
        look_at_clock
        begun=${now%.*}
        fields=$gpu_fields
        # Once for what this driver knows, which gives the first figures too.
        only=
        left_out=
        read_figures
        if ! has_figures "$out"; then
            # Some drivers print nothing but what is wrong with one GPU that is dead.
            words=$out
            if find_others gp; then
                clean "${words%%"$nl"*}" 200
                left_out=$text
                read_figures
            else
                out=$words
            fi
        fi
        printf 'gf %s\n' "$fields"
        [ -z "$out" ] || printf '%s\n' "$out" | relay_gpus
        if has_figures "$out"; then
            [ -z "$left_out" ] || printf 'gw %s\n' "$left_out"
            if [ -z "$apps" ]; then
                apps=1
                divided=
                case $out$nl in *", Enabled$nl"*) divided=1 ;; esac
                kept_up apps_half "$divided" "$only" &
            fi
            {
                run_smi gp $only --query-gpu="$fields" --format=csv,noheader,nounits --loop-ms="$1" 2>&1 >&6 6>&- | relay_errors >&5 6>&-
            } 6>&1 | relay_gpus
        fi
        printf 'gs ended\n'
        # Starting it again and again upsets drivers; what ran for long may be tried soon.
        look_at_clock
        if [ "$now" != - ] && [ $((${now%.*} - begun)) -gt 600 ]; then pause=$SLOW_S; fi
        sleep "$pause" || return
        pause=$((pause * 2))
        [ "$pause" -le 300 ] || pause=300
    done
}

# The processes that compute on GPUs: 'al uid user name line' each, 'as' with the exit status of nvidia-smi, then
# 'ae time', with which the list can be read.
# If a GPU is divided ($1), 'al mig line' too for each line that lists its parts.
# $2: the option that names the GPUs that can be read, or '' for all.
apps_half() {
    only=$2
    searched=
    # In a container the driver may report the host's pids: then no process here is taken for that one.
    pids_are_ours=
    case $(readlink "$PROC/self/ns/pid") in 'pid:[4026531836]') pids_are_ours=1 ;; esac
    while :; do
        rows=$({
            (run_smi ap $only --query-compute-apps=gpu_uuid,pid,used_memory,process_name --format=csv,noheader,nounits)
            printf '#%s\n' "$?"
        } | first_lines 257)
        printf '%s\n' "$rows" | {
            count=0
            status=-
            while [ "$count" -lt 256 ] && IFS= read -r line; do
                case $line in '') continue ;; '#'[0-9]*) status=${line#?} && continue ;; esac
                count=$((count + 1))
                pid=${line#*, }
                pid=${pid%%,*}
                uid=-
                user=-
                name=
                case $pids_are_ours$pid in
                1*[!0-9]* | 1) ;;
                1*)
                    name_of "$pid"
                    owner_of "$pid"
                    ;;
                esac
                clean "$name" 32
                name=$text
                clean "$line" 400
                printf 'al %s\t%s\t%s\t%s\n' "$uid" "$user" "$name" "$text"
            done
            [ "$count" -lt 256 ] || status=cut
            clean "$status" 8
            printf 'as %s\n' "$text"
        }
        [ -z "$1" ] || run_smi ai -L | {
            count=0
            while [ "$count" -lt 128 ] && IFS= read -r line; do
                count=$((count + 1))
                clean "$line" 200
                printf 'al mig\t%s\n' "$text"
            done
        }
        look_at_clock
        printf 'ae %s\n' "$now"
        # A GPU that has died since may cost the list of all: once, those that can be read are looked for again.
        case $nl$rows in
        *"$nl#0" | *"$nl#14") searched= ;;
        *)
            if [ -n "$only" ]; then
                only=
            elif [ -z "$searched" ]; then
                searched=1
                find_others ai
            fi
            ;;
        esac
        sleep "$SLOW_S" || return
    done
}

# ---- the busiest processes ---------------------------------------------------------------------------

# list: with '$1:$2' in its place, from large to small, the first $MOST_TOP of it.
put_in_list() {
    kept=
    count=0
    new=$1:$2
    for item in $list $1:; do
        if [ -n "$new" ] && [ "$1" -ge "${item%%:*}" ]; then
            kept="$kept $new"
            count=$((count + 1))
            new=
        fi
        [ "$count" -lt "$MOST_TOP" ] && [ "$item" != "$1:" ] || break
        kept="$kept $item"
        count=$((count + 1))
    done
    list=$kept
}

least_of() {
    set -- $1
    least=0
    if [ $# -ge "$MOST_TOP" ]; then
        shift $((MOST_TOP - 1))
        least=${1%%:*}
    fi
}

# 'tl pid uid user pages ticks name' each, then 'te time', 'time of the list before', bytes of a page, and
# 'hides' if not even the first process can be seen.
top_half() {
    former_pids=
    former=-
    page=4096
    while read -r key value unit; do
        case $key$unit in KernelPageSize:kB) page=$((value * 1024)) && break ;; esac
    done < "$PROC/self/smaps"
    while :; do
        look_at_clock
        began=$now
        pids=
        by_cpu=
        by_memory=
        least_cpu=0
        least_memory=0
        set +f
        set -- "$PROC"/[0-9]*
        set -f
        for folder do
            pid=${folder##*/}
            # A name may hold line breaks: the figures are in the last line.
            line=
            while IFS= read -r next; do line=$next; done < "$folder/stat" || continue
            set -- ${line##*) }
            [ $# -ge 22 ] || continue
            case $pid${12}${13}${20}${22} in *[!0-9]*) continue ;; esac
            ticks=$((${12} + ${13}))
            eval "before=\$seen_$pid"
            eval "seen_$pid=\${20}:$ticks"
            pids="$pids $pid"
            case $before in
            "${20}":*) used=$((ticks - ${before#*:})) ;;
            *) used=0 ;;
            esac
            if [ "$used" -gt "$least_cpu" ]; then
                list=$by_cpu
                put_in_list "$used" "$pid"
                by_cpu=$list
                least_of "$by_cpu"
                least_cpu=$least
            fi
            if [ "${22}" -gt "$least_memory" ]; then
                list=$by_memory
                put_in_list "${22}" "$pid"
                by_memory=$list
                least_of "$by_memory"
                least_memory=$least
            fi
            eval "figures_$pid=\"\${22} \$used \${before:+known}\""
        done
        for pid in $former_pids; do
            eval "[ -n \"\$figures_$pid\" ]" || unset "seen_$pid"
        done
        chosen=
        for item in $by_cpu $by_memory; do
            case " $chosen " in *" ${item#*:} "*) ;; *) chosen="$chosen ${item#*:}" ;; esac
        done
        for pid in $chosen; do
            name_of "$pid" || continue
            owner_of "$pid"
            clean "$name" 32
            eval "set -- \$figures_$pid"
            [ -n "$3" ] || set -- "$1" -
            printf 'tl %s\t%s\t%s\t%s\t%s\t%s\n' "$pid" "$uid" "$user" "$1" "$2" "$text"
        done
        for pid in $pids; do
            unset "figures_$pid"
        done
        case "$pids " in *' 1 '*) hides= ;; *) hides=' hides' ;; esac
        printf 'te %s %s %s%s\n' "$began" "$former" "$page" "$hides"
        former_pids=$pids
        # A five-hundredth of a core at most; but the first list has something to be compared with soon.
        share=$TOP_SHARE
        [ "$former" != - ] || share=0
        former=$began
        in_hundredths "$began"
        spent=$hundredths
        look_at_clock
        in_hundredths "$now"
        pause=$(((hundredths - spent) * share))
        [ "$pause" -gt "$SLOW_S" ] || pause=$SLOW_S
        [ "$pause" -lt 120 ] || pause=120
        sleep "$pause" || return
    done
}

# ---- frames: everything that is known, one block for each request -------------------------------------
# What changes rarely is sent when it has changed, and in the slow ones again.

# A section of the answer: name $1, number of lines $2, lines $3.
section() {
    body="$body@$1 $2$nl$3"
    sections=$((sections + 1))
}

# lines, count: one more.
add() {
    lines=$lines$1$nl
    count=$((count + 1))
}

# The same for each line of file $1 of the control group, or its one value, after the file's name.
add_cgroup_file() {
    while IFS= read -r line; do
        add "${1##*/} $line"
    done < "$1"
}

# The same for the line of the file that begins with the word $2.
add_cgroup_line() {
    while read -r key value; do
        case $key in "$2") add "${1##*/} $key $value" && break ;; esac
    done < "$1"
}

fast_sections() {
    lines= count=0
    while IFS= read -r line; do
        case $line in cpu*) add "$line" ;; *) break ;; esac
    done < "$PROC/stat" && section stat "$count" "$lines"
    lines= count=0
    while IFS= read -r line; do
        case $line in
        MemTotal:* | MemAvailable:* | SwapTotal:*) add "$line" ;;
        SwapFree:*) add "$line" && break ;;
        esac
    done < "$PROC/meminfo" && section meminfo "$count" "$lines"
    IFS= read -r line < "$PROC/loadavg" && section loadavg 1 "$line$nl"
    net_section
    disk_section
}

# Real cards and disks, once they are known, have small files of their own: the list of all may be long
# (each container has a card), and is read byte by byte.
net_section() {
    lines= count=0
    if [ -n "$cards" ]; then
        for name in $cards; do
            folder=$SYS/class/net/$name/statistics
            read -r received < "$folder/rx_bytes" && read -r sent < "$folder/tx_bytes" || continue
            add "$name: $received 0 0 0 0 0 0 0 $sent"
        done
        section net "$count" "$lines"
        return
    fi
    while IFS= read -r line; do
        case $line in *:*) add "$line" ;; esac
    done < "$PROC/net/dev" && section net "$count" "$lines"
}

disk_section() {
    lines= count=0
    if [ -n "$disks" ]; then
        for name in $disks; do
            read -r line < "$SYS/block/$name/stat" || continue
            set -- $line
            add "$name $*"
        done
        section disk "$count" "$lines"
        return
    fi
    while read -r major minor name line; do
        case $name in loop* | ram*) ;; *) add "$name $line" ;; esac
    done < "$PROC/diskstats" && section disk "$count" "$lines"
}

cgroup_section() {
    lines= count=0
    root=$SYS/fs/cgroup
    if [ -r "$root/memory.current" ]; then
        add 'version 2'
        names='memory.current cpu.stat memory.events'
        [ -z "$slow" ] || names="$names memory.max memory.peak cpu.max cpuset.cpus.effective cpu.pressure memory.pressure io.pressure"
        for name in $names; do
            add_cgroup_file "$root/$name"
        done
        [ -z "$slow" ] || add_cgroup_line "$root/memory.stat" inactive_file
    elif [ -r "$root/memory/memory.limit_in_bytes" ]; then
        add 'version 1'
        for name in memory/memory.usage_in_bytes memory/memory.oom_control cpu/cpu.stat cpuacct/cpuacct.usage; do
            add_cgroup_file "$root/$name"
        done
        if [ -n "$slow" ]; then
            for name in memory/memory.limit_in_bytes memory/memory.max_usage_in_bytes cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us cpuset/cpuset.effective_cpus; do
                add_cgroup_file "$root/$name"
            done
            add_cgroup_line "$root/memory/memory.stat" total_inactive_file
        fi
    fi
    section cgroup "$count" "$lines"
}

# Which devices have hardware behind them (1) or not (0), and the names of the former.
devices_section() {
    lines= count=0
    disks= cards=
    set +f
    set -- "$SYS"/block/* "$SYS"/class/net/*
    set -f
    for folder do
        [ -e "$folder" ] || continue
        clean "${folder##*/}" 64
        real=0
        # A card whose master is one too passes its traffic on to that.
        [ -e "$folder/device" ] && [ ! -e "$folder/master/device" ] && real=1
        case $folder in
        "$SYS"/block/loop* | "$SYS"/block/ram*) ;;
        "$SYS"/block/*)
            add "disk $text $real"
            [ "$real" = 0 ] || disks="$disks $text "
            ;;
        *)
            add "net $text $real"
            [ "$real" = 0 ] || cards="$cards $text "
            ;;
        esac
    done
    section devices "$count" "$lines"
}

system_section() {
    look_at_clock
    wall_at=$now
    wall=$(date +%s.%N)
    case $wall in *[!0-9.]* | '') wall=$(date +%s) ;; esac
    case $wall in *[!0-9.]* | '') wall=- ;; esac
    [ -n "$kernel" ] || kernel=$(uname -srm)
    [ -n "$own_uid" ] || own_uid=$(id -u)
    hostname=
    read -r hostname < "$PROC/sys/kernel/hostname" || hostname=$(uname -n)
    boot=
    read -r boot < "$PROC/sys/kernel/random/boot_id"
    lines= count=0
    clean "$hostname" 255 && add "hostname $text"
    clean "$kernel" 255 && add "kernel $text"
    clean "$boot" 64 && add "boot $text"
    clean "$own_uid" 20 && add "uid $text"
    section system "$count" "$lines"
}

gpu_section() {
    lines= count=0
    state=$gpu_state
    case $state$1 in off0) ;; off*) state=starting ;; esac
    add "state $state $gpu_since $gpu_period $gpu_run"
    [ -z "$gpu_fields_known" ] || [ -z "$slow$fields_new" ] || add "fields $gpu_fields_known"
    for index in $gpus; do
        eval "line=\$gpu_$index"
        add "gpu $line"
    done
    [ -z "$gpu_words" ] || add "words $gpu_words"
    [ -z "$gpu_left_out" ] || add "left_out $gpu_left_out"
    section gpu "$count" "$lines"
    [ -z "$apps_at" ] || [ -z "$slow$apps_new" ] || section apps "$((apps_count + 1))" "at $apps_at$nl$apps_lines"
    [ -z "$top_at" ] || [ -z "$slow$top_new" ] || section top "$((top_count + 1))" "at $top_at$nl$top_lines"
    fields_new= apps_new= top_new=
}

# $1: how long ago $2 was, in whole seconds of uptime, is more than that.
longer_ago_than() {
    case $now$2 in *-* | '') return 1 ;; esac
    [ $((${now%.*} - ${2%.*})) -gt "$1" ]
}

# Ask a silent nvidia-smi to end, once. If it cannot (it sits in the driver), no second one is started.
end_silent_ones() {
    if [ -n "$gpu_pid" ] && longer_ago_than "$((120 + gpu_period * 3 / 1000))" "$gpu_heard"; then
        kill -TERM "$gpu_pid"
        gpu_pid=
    fi
    if [ -n "$app_pid" ] && longer_ago_than 30 "$app_began"; then
        kill -TERM "$app_pid"
        app_pid=
    fi
}

answer() {
    slow=
    case $2 in *slow*) slow=1 ;; esac
    body= sections=0
    look_at_clock
    uptime=$now
    fast_sections
    cgroup_section
    if [ -n "$slow" ]; then
        devices_section
        system_section
    fi
    gpu_section "$3"
    end_silent_ones
    printf '%%PYLON 1 %s %s %s %s %s %s\n%s%%END %s\n' "$1" "${#body}" "$sections" "$uptime" "$wall_at" "$wall" "$body" "$1" >&4
}

frames() {
    trap '' PIPE
    gpu_state=off gpu_since=- gpu_period=0 gpu_fields_known= gpus= gpu_count=0 gpu_words= gpu_left_out= gpu_pid= gpu_heard=- gpu_run=- fields_new=
    apps_at= apps_lines= apps_count=0 apps_new= next_apps= next_apps_count=0 next_apps_status=- app_pid= app_began=-
    top_at= top_lines= top_count=0 top_new= next_top= next_top_count=0
    disks= cards= kernel= own_uid= wall=- wall_at=-
    while IFS= read -r line; do
        rest=${line#* }
        case $line in
        'T '*) answer ${line#T } && kill -URG $$ || break ;;
        H) kill -URG $$ || break ;;
        'gl '*)
            gpu_heard=${rest%% *}
            index=${rest#* }
            index=${index%%,*}
            case " $gpus " in
            *" $index "*) ;;
            *)
                [ "$gpu_count" -lt 64 ] || continue
                gpus="$gpus $index"
                gpu_count=$((gpu_count + 1))
                ;;
            esac
            eval "gpu_$index=\$rest"
            gpu_state=running
            ;;
        'ge '*) gpu_heard=${rest%% *} gpu_words=$rest ;;
        'gw '*) gpu_left_out=$rest ;;
        'gs '*)
            look_at_clock
            gpu_state=$rest gpu_since=$now gpu_heard=$now gpu_pid=
            # The next one may know other fields: lines of before are none of its own.
            case $rest in started) gpu_run=$now gpus= gpu_count=0 gpu_fields_known= gpu_left_out= ;; esac
            ;;
        'gf '*) gpu_fields_known=$rest fields_new=1 ;;
        'gm '*) gpu_period=$rest ;;
        'gp '*) look_at_clock && gpu_pid=$rest gpu_heard=$now ;;
        'ap '*) look_at_clock && app_pid=$rest app_began=$now next_apps= next_apps_count=0 next_apps_status=- ;;
        'as '*) next_apps_status=$rest ;;
        'ai '*) look_at_clock && app_pid=$rest app_began=$now ;;
        'al '*) next_apps=$next_apps$rest$nl next_apps_count=$((next_apps_count + 1)) ;;
        'ae '*) apps_at="$rest $next_apps_status" apps_lines=$next_apps apps_count=$next_apps_count app_pid= apps_new=1 ;;
        'tl '*) next_top=$next_top$rest$nl next_top_count=$((next_top_count + 1)) ;;
        'te '*)
            top_at=$rest top_lines=$next_top top_count=$next_top_count top_new=1
            next_top= next_top_count=0
            ;;
        esac
    done
    ask_to_finish
}

# ---- supervisor ----------------------------------------------------------------------------------------

finish() {
    trap '' TERM HUP INT QUIT URG
    [ -z "$nap$frames_pid" ] || kill -TERM $nap $frames_pid
    end_group
    exit 0
}

beat=
nap=
frames_pid=
trap finish TERM HUP INT QUIT
# URG harms no process that does not wait for it: not even a later one with this pid.
trap 'beat=1' URG
exec 3<&0 4>&1 </dev/null >/dev/null
forward <&3 3<&- 4>&- | frames 3<&- &
frames_pid=$!
exec 3<&- 4>&-
step=$((PATIENCE_S / 4))
[ "$step" -gt 0 ] || step=1
silent_s=0
while [ "$silent_s" -lt "$PATIENCE_S" ]; do
    sleep "$step" &
    nap=$!
    while :; do
        wait "$nap"
        status=$?
        [ "$status" -gt 128 ] && kill -0 "$nap" || break
    done
    # Without a sleep, or without the other half, there is no way to keep the promise to end.
    [ "$status" -ne 127 ] && kill -0 "$frames_pid" || break
    silent_s=$((silent_s + step))
    [ -z "$beat" ] || silent_s=0
    beat=
done
finish
#end-of-script
