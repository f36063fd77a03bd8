# frozen_string_literal: true

Transfer::Engine.routes.draw do
  root to: "models#index"

  resources :models, only: %i[index show], param: :name, constraints: { name: %r{[^/]+} } do
    post :train, on: :member
    post :roll_back, on: :member
    resources :versions, only: :show, param: :number do
      post :promote, on: :member
      get :report, on: :member
      get "compare/:other", action: :compare, as: :compare, on: :member
    end
    resources :reviews, only: %i[index update]
    resources :pictures, only: :show
  end

  resources :runs, only: %i[index show] do
    post :cancel, on: :member
    get :state, on: :member
  end

  get "assets/:version/:name", to: "frontend#show", as: :frontend, constraints: { name: /[a-z]+\.(css|js|svg)/ }
end
