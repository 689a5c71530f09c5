# SPDX-License-Identifier: Apache-2.0
# VPP's API compiler is a Python program that needs the module ply, and would run with whatever python3 comes first in
# PATH when it is called. Finds a python3 that it runs with now, and puts its full path into PYENV, which VPP's own CMake
# files put in front of the compiler; -DPYENV=<python3> names one.
if(PYENV)
  set(candidates "${PYENV}")
else()
  set(candidates python3 /usr/bin/python3)
endif()
set(tried "")
set(python "")
foreach(candidate IN LISTS candidates)
  execute_process(COMMAND ${candidate} -c "import sys; print(sys.executable)"
    RESULT_VARIABLE result OUTPUT_VARIABLE path OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  if(NOT result EQUAL 0)
    string(APPEND tried "\n  ${candidate}: ${result}")
    continue()
  endif()
  execute_process(COMMAND ${path} ${VPP_APIGEN} --help RESULT_VARIABLE result OUTPUT_QUIET ERROR_VARIABLE said)
  if(result EQUAL 0)
    set(python ${path})
    break()
  endif()
  # The last line of a traceback says what is wrong.
  string(STRIP "${said}" said)
  string(REGEX REPLACE ".*\n" "" said "${said}")
  string(APPEND tried "\n  ${path}: ${said}")
endforeach()
if(NOT python)
  message(FATAL_ERROR "VPP's API compiler ${VPP_APIGEN} does not run with any python3 here:${tried}\n"
    "Most likely the Python module ply is missing: install it (Debian: apt-get install python3-ply), or name a python3 "
    "that has it with -DPYENV=<path>.")
endif()
set(PYENV ${python})
message(STATUS "VPP's API compiler ${VPP_APIGEN} runs with ${PYENV}")
