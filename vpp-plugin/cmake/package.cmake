# SPDX-License-Identifier: Apache-2.0
# cpack -G DEB: the plugin and its API description, for exactly the VPP that it was built against.
set(CPACK_PACKAGE_NAME vpp-plugin-fip64)
set(CPACK_PACKAGE_VENDOR "fip64agent")
set(CPACK_PACKAGE_CONTACT "The fip64agent founders <fip64agent@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "VPP plugin: floating IPv6 addresses for hosts that have only IPv4 (FIP64)")
set(CPACK_PACKAGE_DESCRIPTION "Nodes ip6-fip64 and ip4-fip64 of the Vector Packet Processor translate between IPv6
clients and hosts that have only IPv4, by RFC 7915, with an address of a per-tenant pool for each client.
VPP does not load it into another version of VPP than the one it was built for.")
set(CPACK_GENERATOR DEB)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_GROUPING ALL_COMPONENTS_IN_ONE)
set(CPACK_COMPONENTS_ALL vpp-plugin-fip64)
# Where VPP's packages put things; -DCPACK_PACKAGING_INSTALL_PREFIX overrides it.
if(NOT CPACK_PACKAGING_INSTALL_PREFIX)
  set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
endif()
set(CPACK_STRIP_FILES ON)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_DEBIAN_PACKAGE_VERSION "${PROJECT_VERSION}+vpp${FIP64_VPP_VERSION}")
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_HOMEPAGE "")
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
# VPP's own packages have the version that VPP reports. Its libraries have no package that shlibdeps would find
# when VPP was installed by hand, so the C library is the only other dependency, and it comes with vpp.
set(CPACK_DEBIAN_PACKAGE_DEPENDS "vpp (= ${FIP64_VPP_VERSION})")
include(CPack)
