# SPDX-License-Identifier: Apache-2.0
"""What the paper asks of its own explanation: do image and text meet across domains, and do captions name domains?"""
