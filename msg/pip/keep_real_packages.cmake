# Switch an option off where the environment has a real package of that name. Ours, from an earlier build, is no such.
function(keep_real_package environment package option)
  set(installed "${environment}/share/${package}/package.xml")
  if(EXISTS "${installed}")
    file(READ "${installed}" manifest)
    if(NOT manifest MATCHES "for pip environments without the real package")  # as our package.xml files say
      set(${option} OFF PARENT_SCOPE)
    endif()
  endif()
endfunction()
