# cmake --install: the library, its header, the program, and what lets others find them.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

if(SKBUILD) # a Python package holds plain files below its own folder
  set(CMAKE_INSTALL_LIBDIR lib)
  set_property(TARGET hone_shared PROPERTY SOVERSION)
  set_property(TARGET hone_shared PROPERTY VERSION)
endif()

set_target_properties(hone_shared PROPERTIES EXPORT_NAME hone)
install(TARGETS hone_shared EXPORT honeTargets COMPONENT hone
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} NAMELINK_COMPONENT hone)
install(FILES include/hone/hone.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/hone COMPONENT hone)
if(TARGET hone)
  install(TARGETS hone RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT hone)
  if(NOT CMAKE_CROSSCOMPILING)
    # The program writes its own manual page and completion.
    add_custom_command(OUTPUT hone.1 hone.bash
      COMMAND hone help --man > hone.1
      COMMAND hone help --completion > hone.bash
      DEPENDS hone VERBATIM)
    add_custom_target(hone_manual ALL DEPENDS hone.1 hone.bash)
    install(FILES ${PROJECT_BINARY_DIR}/hone.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1
      COMPONENT manual)
    install(FILES ${PROJECT_BINARY_DIR}/hone.bash RENAME hone
      DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions COMPONENT manual)
  endif()
endif()

configure_file(cmake/hone.pc.in hone.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/hone.pc
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT development)

set(hone_config_dir ${CMAKE_INSTALL_LIBDIR}/cmake/hone)
install(EXPORT honeTargets NAMESPACE hone:: DESTINATION ${hone_config_dir} COMPONENT development)
configure_package_config_file(cmake/honeConfig.cmake.in honeConfig.cmake
  INSTALL_DESTINATION ${hone_config_dir})
write_basic_package_version_file(honeConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/honeConfig.cmake ${PROJECT_BINARY_DIR}/honeConfigVersion.cmake
  DESTINATION ${hone_config_dir} COMPONENT development)
