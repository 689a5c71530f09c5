# SPDX-License-Identifier: Apache-2.0
# Finds out which VPP this is, and warns if the plugin was never tested with it.
set(FIP64_KNOWN_VPP 26.06 26.10)

set(FIP64_VPP_VERSION "")
if(EXISTS ${VPP_INCLUDE_DIR}/vpp/app/version.h)
  file(STRINGS ${VPP_INCLUDE_DIR}/vpp/app/version.h line REGEX "VPP_BUILD_VER")
  string(REGEX REPLACE ".*\"(.*)\".*" "\\1" FIP64_VPP_VERSION "${line}")
endif()
string(REGEX MATCH "^[0-9]+\\.[0-9]+" FIP64_VPP_RELEASE "${FIP64_VPP_VERSION}")
if(FIP64_VPP_RELEASE IN_LIST FIP64_KNOWN_VPP)
  message(STATUS "VPP ${FIP64_VPP_VERSION} in ${VPP_INCLUDE_DIR}")
else()
  message(WARNING "VPP ${FIP64_VPP_VERSION} in ${VPP_INCLUDE_DIR}: this version is not known to work with the plugin "
    "(known: ${FIP64_KNOWN_VPP}). Run tests/functional/vpp_plugin before you use the result.")
endif()
