# Switch BUILD_VISION_MSGS off where the environment has a real vision_msgs. Ours, from an earlier build, is no such.
function(keep_real_vision_msgs environment)
  set(installed "${environment}/share/vision_msgs/package.xml")
  if(EXISTS "${installed}")
    file(READ "${installed}" manifest)
    if(NOT manifest MATCHES "for pip environments without the real package")  # as pip/vision_msgs/package.xml says
      set(BUILD_VISION_MSGS OFF PARENT_SCOPE)
    endif()
  endif()
endfunction()
