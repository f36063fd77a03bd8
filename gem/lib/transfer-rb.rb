# frozen_string_literal: true

require "transfer"
