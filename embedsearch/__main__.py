"""python -m embedsearch"""

from embedsearch.cli.main import main

if __name__ == "__main__":
    main()
