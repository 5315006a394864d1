#!/bin/sh
# Puts the built library, headers, pkg-config file, message generator and man pages under $DESTDIR$PREFIX, or takes them away again.
# Called by `make install` and `make uninstall`, which set the variables.
#
# What was put is recorded, one path a line without DESTDIR, folders that had to be made with a slash at their end. Uninstalling
# follows the record, so it removes what an earlier version or other options installed, and nothing that was there before.
set -eu

record=$PREFIX/lib/libmln.files
man=$PREFIX/share/man/man3

# Makes a folder and its parents, and records each that did not exist.
folder() {
    if [ -d "$DESTDIR$1" ]; then return; fi
    folder "$(dirname "$1")"
    mkdir "$DESTDIR$1"
    echo "$1/" >>"$new"
}

# put MODE TARGET SOURCE: copies a file and records it, first, so that a copy cut short is recorded too.
put() {
    folder "$(dirname "$2")"
    echo "$2" >>"$new"
    install -m "$1" "$3" "$DESTDIR$2"
}

# link NAME TARGET: makes a symbolic link and records it.
link() {
    echo "$1" >>"$new"
    ln -sfn "$2" "$DESTDIR$1"
}

# page SOURCE: installs a man page, and under each other name in its NAME section a page that refers to it. A page of somebody
# else's with such a name stays.
page() {
    page_name=$(basename "$1")
    put 644 "$man/$page_name" "$1"
    echo ".so man3/$page_name" >"$BUILD/alias.3"
    for name in $(sed -n '/^\.SH NAME$/,/ \\- /{/^\.SH/d; s/ \\- .*//; s/,//g; p;}' "$1"); do
        if [ ! -e "$DESTDIR$man/$name.3" ]; then put 644 "$man/$name.3" "$BUILD/alias.3"; fi
    done
    rm "$BUILD/alias.3"
}

# Where the library went to a folder of the loader's, the loader's cache has to learn of it. A staged installation is not in force.
refresh_loader() {
    if [ -z "$DESTDIR" ] && [ "$(id -u)" -eq 0 ] && command -v ldconfig >/dev/null; then ldconfig; fi
}

# Removes what the record lists: files, then the record, then the folders, innermost first, that nobody else put anything into.
remove() {
    grep -v '/$' "$DESTDIR$record" | while IFS= read -r path; do rm -f "$DESTDIR$path"; done
    folders=$(grep '/$' "$DESTDIR$record" | LC_ALL=C sort -r)
    rm "$DESTDIR$record"
    echo "$folders" | while IFS= read -r path; do
        if [ -n "$path" ]; then rmdir "$DESTDIR$path" 2>/dev/null || true; fi
    done
}

case ${1-} in
install)
    if ! grep -qxF "prefix=$PREFIX" "$BUILD/mln.pc"; then
        echo "The library in $BUILD was not built for PREFIX=$PREFIX: run make PREFIX=$PREFIX first." >&2
        exit 1
    fi
    if [ -e "$DESTDIR$record" ]; then remove; fi
    new=$BUILD/installed
    : >"$new"
    folder "$PREFIX/lib"
    trap 'cp "$new" "$DESTDIR$record"' EXIT
    put 755 "$PREFIX/lib/$LIBRARY" "$BUILD/lib/$LIBRARY"
    link "$PREFIX/lib/$SONAME" "$LIBRARY"
    link "$PREFIX/lib/libmln.so" "$SONAME"
    if [ -n "$MELON_LINK" ]; then link "$PREFIX/lib/libmelon.so" "$SONAME"; fi
    put 644 "$PREFIX/lib/pkgconfig/mln.pc" "$BUILD/mln.pc"
    for header in "$BUILD"/include/*.h; do put 644 "$PREFIX/include/melon/${header##*/}" "$header"; done
    put 755 "$PREFIX/bin/mlnipc" "$BUILD/bin/mlnipc"
    for source in docs/man/*.3; do page "$source"; done
    refresh_loader
    echo "Installed $LIBRARY under $DESTDIR$PREFIX: the library in lib, the headers in include/melon, mlnipc in bin, man pages in share/man."
    ;;
uninstall)
    if [ ! -e "$DESTDIR$record" ]; then
        echo "Nothing to uninstall: there is no $DESTDIR$record; give the PREFIX and DESTDIR that were installed to." >&2
        exit 1
    fi
    remove
    refresh_loader
    echo "Uninstalled libmln from $DESTDIR$PREFIX."
    ;;
*)
    echo "usage: install.sh install|uninstall (run it through make, which sets its variables)" >&2
    exit 2
    ;;
esac
