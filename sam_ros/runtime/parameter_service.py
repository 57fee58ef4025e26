"""Parameter services that answer every request."""

from __future__ import annotations

from rcl_interfaces.msg import SetParametersResult
from rcl_interfaces.srv import SetParameters, SetParametersAtomically
from rclpy.parameter_service import ParameterService

from sam_ros.runtime.texts import legible

__all__ = ["AnsweringParameterService"]


class AnsweringParameterService(ParameterService):
    """rclpy's parameter services, but a value that no parameter can have is refused with a reason.

    rclpy raises where a value's type is none that there is; the client then waits for its answer for ever.
    """

    def _set_parameters_callback(
        self, request: SetParameters.Request, response: SetParameters.Response
    ) -> SetParameters.Response:
        for parameter in request.parameters:
            alone = SetParametersAtomically.Request(parameters=[parameter])
            answer = self._set_parameters_atomically_callback(alone, SetParametersAtomically.Response())
            response.results.append(answer.result)
        return response

    def _set_parameters_atomically_callback(
        self, request: SetParametersAtomically.Request, response: SetParametersAtomically.Response
    ) -> SetParametersAtomically.Response:
        try:
            return super()._set_parameters_atomically_callback(request, response)
        except Exception as error:
            names = ", ".join(parameter.name for parameter in request.parameters)
            reason = legible(f"cannot set {names}: {type(error).__name__}: {error}")
            response.result = SetParametersResult(successful=False, reason=reason)
            return response
