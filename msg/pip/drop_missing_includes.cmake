# Read by CMake after each project() call (CMAKE_PROJECT_INCLUDE).
#
# Some targets exported by the ROS wheels carry include directories of the machine that built the wheels. CMake refuses
# to generate when an imported target names a directory that doesn't exist, so such directories are dropped from the
# imported targets of this folder once everything has been found.
function(drop_missing_includes)
  get_directory_property(targets IMPORTED_TARGETS)
  foreach(target IN LISTS targets)
    get_target_property(directories ${target} INTERFACE_INCLUDE_DIRECTORIES)
    if(NOT directories)
      continue()
    endif()
    set(present "")
    foreach(directory IN LISTS directories)
      if(directory MATCHES "^\\$<" OR EXISTS "${directory}")
        list(APPEND present "${directory}")
      endif()
    endforeach()
    set_target_properties(${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${present}")
  endforeach()
endfunction()

cmake_language(DEFER CALL drop_missing_includes)
