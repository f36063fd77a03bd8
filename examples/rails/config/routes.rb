# frozen_string_literal: true

Rails.application.routes.draw do
  mount Transfer::Engine, at: "/transfer"
  resources :photos, only: %i[index create]
  root to: "photos#index"
end
